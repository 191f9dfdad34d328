"""A made-up melon in the camera's eye: exact silhouette, visible surface, light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mezoroi.datasets.melons.render import Conditions, Texture
from mezoroi.datasets.melons.shape import Body
from mezoroi.datasets.melons.sphere import Array, blur, directions, wrap
from mezoroi.datasets.melons.turn import Floats

GAMMA = 2.2  # as in `render_surface`
_MARGIN = 2
_AROUND = 360  # polar angles of a silhouette
_DEPTHS = np.deg2rad(np.arange(-48.0, 90.1, 1.5))  # the silhouette of a body leaves z = 0
_SLANTS = 97
_SHININESS = 45


@dataclass(frozen=True)
class Fruit:
    """A fruit and its light, ready to be seen from anywhere.

    The panoramas are (H + 4, 2H + 4, ...), continued over the seam and the poles.

    Attributes
    ----------
    radius : in equatorial radii
    colour : RGB of the surface under light 1, encoded as in the frames, 1 is white
    normal : (..., 3) surface normal in body axes, with the relief
    lamp, half : (3,) unit vectors in camera axes to the lamp, and half way to the viewer
    ambient : share of the light that comes from everywhere
    vignette : darkening towards the upper and lower edge
    encoding : exponent from light to the encoded frame
    glare : strength of the lamp's reflection
    """

    radius: Array
    colour: Array
    normal: Array
    lamp: Floats
    half: Floats
    ambient: float
    vignette: float
    encoding: float
    glare: float


@dataclass(frozen=True)
class Patch:
    """The part of a frame that shows the fruit.

    Attributes
    ----------
    top, left : its upper left pixel in the frame
    image : (h, w, 3) encoded RGB, above 1 where it saturates
    opacity : (h, w) share of the pixel that the fruit covers
    """

    top: int
    left: int
    image: Array
    opacity: Array


def make_fruit(
    body: Body, texture: Texture, conditions: Conditions, *, scale: float, glare: float
) -> Fruit:
    """Prepare a fruit to be seen at about `scale` pixels per equatorial radius."""
    height = texture.relief.shape[0]
    radius = body(directions(height))
    encoding = conditions.contrast / GAMMA
    gains = 1.25 * conditions.exposure * np.array(conditions.white_balance, dtype=np.float32)
    colour = ((texture.albedo * gains) ** np.float32(encoding)).astype(np.float32)
    # Where the panorama is finer than the frames, it would alias.
    sigma = 0.5 * float(np.sqrt(max(0.0, (height / np.pi / scale) ** 2 - 1)))
    lift, side = np.deg2rad(conditions.elevation), np.deg2rad(conditions.side)
    lamp = np.array((np.cos(lift) * np.sin(side), np.sin(lift), np.cos(lift) * np.cos(side)))
    half = lamp + np.array((0.0, 0.0, 1.0))
    return Fruit(
        radius=wrap(radius, _MARGIN),
        colour=wrap(blur(colour, sigma), _MARGIN),
        normal=wrap(blur(_normals(radius, texture.relief), sigma), _MARGIN),
        lamp=lamp,
        half=half / np.linalg.norm(half),
        ambient=conditions.ambient,
        vignette=conditions.vignette,
        encoding=encoding,
        glare=glare,
    )


def see(
    fruit: Fruit,
    pose: Floats,
    centre: Floats,
    scale: float,
    nearness: float,
    size: tuple[int, int],
) -> Patch:
    """The fruit in a frame of `size` (height, width); see `Truth` for the other arguments."""
    outline, table = _project(fruit, pose, nearness)
    reach = float(outline.max()) * scale + 2
    left, top = (max(0, int(np.floor(c - reach))) for c in centre)
    right, bottom = (
        max(start + 1, min(end, int(np.ceil(c + reach)) + 1))
        for start, end, c in zip((left, top), size[::-1], centre, strict=True)
    )
    x = ((np.arange(left, right) - centre[0]) / scale).astype(np.float32)
    y = ((centre[1] - np.arange(top, bottom)) / scale).astype(np.float32)
    u, v = np.meshgrid(x, y)
    distance = np.hypot(u, v)
    around = (np.arctan2(v, u) % np.float32(2 * np.pi)) * np.float32(_AROUND / (2 * np.pi))
    edge = _lookup(outline, np.zeros_like(around), around)
    slant = np.sqrt(np.clip(1 - (distance / edge) ** 2, 0, 1))
    found = _lookup(table, slant * np.float32(_SLANTS - 1), around)
    stretch = found[..., 1] / np.maximum(edge, distance)
    towards = np.stack([stretch * u, stretch * v, found[..., 0]], axis=-1)
    column, row = _at(fruit, towards, pose)
    colour = _lookup(fruit.colour, column, row, cv2.INTER_CUBIC)
    normal = _lookup(fruit.normal, column, row)
    latitude = np.arcsin(np.clip(towards[..., 1], -1, 1))
    return Patch(
        top=top,
        left=left,
        image=_shade(fruit, pose, colour, normal, latitude),
        opacity=np.clip(0.5 + (edge - distance) * np.float32(scale), 0, 1),
    )


def _shade(fruit: Fruit, pose: Floats, colour: Array, normal: Array, latitude: Array) -> Array:
    """The encoded image under a lamp that stands still; `latitude` is seen from the camera."""
    direct = np.maximum(cv2.transform(normal, (fruit.lamp @ pose)[None]), 0)
    light = np.float32(fruit.ambient) + np.float32(1.1 * (1 - fruit.ambient)) * direct
    light = light * (1 - np.float32(fruit.vignette * 4 / np.pi**2) * latitude**2)
    image: Array = colour * (light ** np.float32(fruit.encoding))[..., None]
    if fruit.glare > 0:
        mirror = np.maximum(cv2.transform(normal, (fruit.half @ pose)[None]), 0)
        image = image + (np.float32(1.2 * fruit.glare) * mirror**_SHININESS)[..., None]
    return image


def _normals(radius: Array, relief: Array) -> Array:
    """Surface normals (H, 2H, 3) of the body with its relief, in body axes.

    They give the same light as `render_surface` on a sphere; its limits on the relief's slope keep
    the edges of cork and blemishes from turning black.
    """
    height = relief.shape[0]
    outward = directions(height)
    across = np.hypot(outward[..., 0], outward[..., 1])
    east = np.stack([-outward[..., 1], outward[..., 0], np.zeros_like(across)], axis=-1)
    east /= across[..., None]
    north = np.cross(outward, east)
    body_south, body_east = _slopes(np.log(radius), across)
    south, east_up = _slopes(relief, np.maximum(across, 0.3))
    down = body_south + np.clip(south, -1.5, 1.5)
    along = body_east + np.clip(east_up, -1.5, 1.5)
    length = np.sqrt(1 + (body_south + south) ** 2 + (body_east + east_up) ** 2)
    normal = (outward + down[..., None] * north - along[..., None] * east) / length[..., None]
    result: Array = normal.astype(np.float32)
    return result


def _slopes(field: Array, across: Array) -> tuple[Array, Array]:
    """Slopes (H, 2H) of a panorama to the south and to the east, over seam and poles."""
    wide = wrap(field, 1)
    step = 2 * np.pi / field.shape[0]
    south = (wide[2:, 1:-1] - wide[:-2, 1:-1]) / step
    east = (wide[1:-1, 2:] - wide[1:-1, :-2]) / (step * across)
    return south, east


@lru_cache(maxsize=1)
def _rays() -> Array:
    """Unit vectors (around, depths, 3) in camera axes from the fruit's centre."""
    angle = np.arange(_AROUND)[:, None] * 2 * np.pi / _AROUND
    flat = np.cos(_DEPTHS)
    rays = np.stack(
        [
            np.cos(angle) * flat,
            np.sin(angle) * flat,
            np.broadcast_to(np.sin(_DEPTHS), (_AROUND, len(_DEPTHS))),
        ],
        axis=-1,
    )
    return rays.astype(np.float32)


def _project(fruit: Fruit, pose: Floats, nearness: float) -> tuple[Array, Array]:
    """The silhouette, and which point of the surface is seen within it.

    A ray from the fruit's centre stays at one polar angle of the image, so each polar angle is a
    problem of its own: how far out each depth appears, and which depth is seen first.

    Returns
    -------
    The radius of the silhouette (around + 1, 1), and (around + 1, slants, 2): the sine of the
    seen point's angle towards the viewer and its cosine over the share of the silhouette's radius.
    The slant is the root of 1 - share^2; in it, both are smooth from centre to edge.
    """
    rays = _rays()
    radius = _lookup(fruit.radius, *_at(fruit, rays, pose))
    depth_sine = np.sin(_DEPTHS).astype(np.float32)
    inverse = (1 - np.float32(nearness) * radius * depth_sine) / radius
    position = np.cos(_DEPTHS).astype(np.float32) / inverse
    # The viewer meets the largest depth angle first: what lies behind a nearer bump is hidden.
    front = np.maximum.accumulate(position[:, ::-1], axis=1)[:, ::-1]
    outline = front[:, :1]
    slant = np.sqrt(np.clip(1 - (front / outline) ** 2, 0, 1))
    grid = np.linspace(0, 1, _SLANTS)
    table = np.empty((_AROUND + 1, _SLANTS, 2), dtype=np.float32)
    for row, (seen, cosine) in enumerate(zip(slant, outline * inverse, strict=True)):
        table[row, :, 0] = np.interp(grid, seen, depth_sine)
        table[row, :, 1] = np.interp(grid, seen, cosine)
    table[-1] = table[0]
    return np.concatenate([outline, outline[:1]]), table


def _at(fruit: Fruit, towards: Array, pose: Floats) -> tuple[Array, Array]:
    """Columns and rows in the fruit's panoramas of directions (..., 3) in camera axes."""
    height = fruit.radius.shape[0] - 2 * _MARGIN
    x, y, z = np.moveaxis(cv2.transform(towards, pose.T), -1, 0)
    per_radian = np.float32(height / np.pi)
    column = (np.arctan2(y, x) + np.float32(np.pi)) * per_radian
    row = (np.float32(np.pi / 2) - np.arctan2(z, np.hypot(x, y))) * per_radian
    offset = np.float32(_MARGIN - 0.5)
    return column + offset, row + offset


def _lookup(field: Array, column: Array, row: Array, method: int = cv2.INTER_LINEAR) -> Array:
    found = cv2.remap(field, column, row, method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.float32)
