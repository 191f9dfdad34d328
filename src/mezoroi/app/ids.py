"""Numbers of rows as they come in addresses, forms and documents."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Path
from pydantic import Field

_LARGEST = 2**31 - 1  # that a column holds
Id = Annotated[int, Path(ge=1, le=_LARGEST)]
FormId = Annotated[int, Form(ge=1, le=_LARGEST)]
FieldId = Annotated[int, Field(ge=1, le=_LARGEST)]
