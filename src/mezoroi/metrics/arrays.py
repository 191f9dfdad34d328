"""What scores take: arrays, and tensors as networks give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezoroi.errors import MezoroiError


def as_array(values: Any) -> NDArray[Any]:
    """Also of a tensor of a graph, on another device, or in a precision that NumPy lacks.

    Raises
    ------
    MezoroiError
        For a list of rows or pictures that differ in size.
    """
    if isinstance(values, list | tuple) and any(hasattr(one, "detach") for one in values):
        values = [as_array(one) for one in values]
    if not hasattr(values, "detach"):  # asking for the type would import torch
        try:
            return np.asarray(values)
        except ValueError as error:
            raise MezoroiError(
                "what is to be scored differs in size from item to item: bring all to one size, "
                "or score them one by one"
            ) from error
    tensor = values.detach().cpu()
    return np.asarray(tensor.double() if tensor.is_floating_point() else tensor)
