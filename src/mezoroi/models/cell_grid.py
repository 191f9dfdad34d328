"""Where in an image the cells of a layer's maps are centred, by the layers on the way to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from timm.layers import BlurPool2d  # type: ignore[attr-defined]
from torch import Tensor, nn

from mezoroi.maps import Grid

Sides = tuple[int, int]
_WINDOWS = (
    nn.Conv2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.LPPool2d,
    BlurPool2d,
)


def measure_grid(model: nn.Module, layer: nn.Module, sides: Sides, run: Callable[[], Any]) -> Grid:
    """The grid of a layer's maps (N, K, h, w), from one pass of the model.

    Every convolution and pooling that changes the size of its maps moves their cells by what its
    window, stride and padding say. Where a size changes outside of such a module, as in a function,
    windows of the ratio's size that do not overlap are taken for the reason. Of several modules
    that lead to maps of one size the last counts before a module takes maps of that size: what
    attention shrinks on the side, such as its keys, goes no further as maps.

    Parameters
    ----------
    model : in evaluation mode; its hooks are as before afterwards
    sides : rows and columns of the images in pixels
    run : runs the model on an image of this size
    """
    known: dict[Sides, Grid] = {sides: Grid((1.0, 1.0))}
    guessed: set[Sides] = set()
    settled = {sides}
    shapes: list[Sides] = []

    def note(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if not (inputs and _is_map(inputs[0]) and _is_map(output)):
            return
        before, after = _sides(inputs[0]), _sides(output)
        if before not in known:
            known[before] = _by_ratio(known, before)
            guessed.add(before)
        settled.add(before)
        if after in guessed and before not in guessed:
            guessed.discard(after)
            settled.discard(after)
        if after == before or after in settled or (after in known and before in guessed):
            return
        if before in guessed:
            guessed.add(after)
        known[after] = _behind(known[before], module, before, after)

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if _is_map(output):
            shapes[:] = [_sides(output)]

    windows = [module for module in model.modules() if isinstance(module, _WINDOWS)]
    with _hooks(windows, note), _hooks([layer], keep):
        run()
    if not shapes:
        return Grid((1.0, 1.0))
    return known.get(shapes[0]) or _by_ratio(known, shapes[0])


def _behind(grid: Grid, module: Any, before: Sides, after: Sides) -> Grid:
    """The grid of what a convolution or pooling makes of maps on a grid."""
    step, offset = [], []
    for axis in range(2):
        window = module.filt_size if isinstance(module, BlurPool2d) else module.kernel_size
        size, stride = _of(window, axis), _of(module.stride, axis)
        reach = (size - 1) * _of(getattr(module, "dilation", 1), axis)
        left = _padding(module, axis, reach, stride, before[axis], after[axis])
        offset.append(grid.offset[axis] + grid.step[axis] * (reach / 2 - left))
        step.append(grid.step[axis] * stride)
    return Grid((step[0], step[1]), (offset[0], offset[1]))


def _padding(module: Any, axis: int, reach: int, stride: int, before: int, after: int) -> int:
    """What a module, or a padding of its own like TensorFlow's, adds before the first row."""
    stated = getattr(module, "padding", 0)
    if not isinstance(stated, str):
        left = _of(stated, axis)
        fits = (before + 2 * left - reach - 1) // stride + 1 == after
        if fits or getattr(module, "ceil_mode", False):
            return left
    return max(0, (after - 1) * stride + reach + 1 - before) // 2


def _by_ratio(known: dict[Sides, Grid], sides: Sides) -> Grid:
    """The grid of maps of this size behind the next larger ones."""
    larger = [other for other in known if other[0] >= sides[0] and other[1] >= sides[1]]
    nearest = min(larger or known, key=lambda other: other[0] * other[1])
    grid = known[nearest]
    ratio = [_ratio(nearest[axis], sides[axis]) for axis in range(2)]
    offset = [grid.offset[axis] + grid.step[axis] * (ratio[axis] - 1) / 2 for axis in range(2)]
    return Grid(
        (grid.step[0] * ratio[0], grid.step[1] * ratio[1]),
        (offset[0], offset[1]),
    )


def _ratio(before: int, after: int) -> float:
    """Pixels per pixel: a whole number, where windows of that size would leave so many."""
    whole = round(before / after)
    return whole if before // whole == after else before / after


def _of(value: Any, axis: int) -> int:
    return int(value[axis] if isinstance(value, tuple | list) else value)


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _sides(maps: Tensor) -> Sides:
    return (maps.shape[2], maps.shape[3])


@contextmanager
def _hooks(modules: Sequence[nn.Module], hook: Any) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
