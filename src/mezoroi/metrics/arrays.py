"""What scores take: arrays, and tensors as networks give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(values: Any) -> NDArray[Any]:
    """Also of a tensor of a graph, on another device, or in a precision that NumPy lacks."""
    if not hasattr(values, "detach"):  # asking for the type would import torch
        return np.asarray(values)
    tensor = values.detach().cpu()
    return np.asarray(tensor.double() if tensor.is_floating_point() else tensor)
