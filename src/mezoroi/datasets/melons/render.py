"""Colour, light and camera: from net and blemishes to the surface image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.melons.blemishes import Blemish, mix
from mezoroi.datasets.melons.net import Net
from mezoroi.datasets.melons.sphere import Array, blur, directions, noise, smoothstep
from mezoroi.datasets.melons.styles import Style

_GAMMA = 2.2


@dataclass(frozen=True)
class Texture:
    """The unlit surface of a fruit, from which any view of it can be rendered.

    Attributes
    ----------
    albedo : (H, 2H, 3) float32, linear RGB in [0, 1]
    relief : (H, 2H) float32, height above the body, relative to the radius
    """

    albedo: Array
    relief: Array


@dataclass(frozen=True)
class Conditions:
    """Light and camera of a harvest day.

    Attributes
    ----------
    elevation, side : direction of the lamp seen from the fruit, degrees
    ambient : share of the light that comes from everywhere
    exposure : factor on the light
    contrast : exponent on the encoded image
    white_balance : factors on R, G, B
    flicker : relative change of the light along the turn
    vignette : darkening towards the upper and lower edge
    blur : radius in pixels of a panorama 256 high
    noise : standard deviation of the sensor noise, sRGB steps
    """

    elevation: float
    side: float
    ambient: float
    exposure: float
    contrast: float
    white_balance: tuple[float, float, float]
    flicker: float
    vignette: float
    blur: float
    noise: float

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> Conditions:
        """The conditions of one day."""
        warm, tint = rng.normal(0, 0.07), rng.normal(0, 0.03)
        return cls(
            elevation=float(rng.uniform(*style.light_elevation)),
            side=float(rng.uniform(-50, 50)),
            ambient=float(rng.uniform(*style.ambient)),
            exposure=float(rng.uniform(*style.exposure)),
            contrast=float(rng.uniform(0.85, 1.15)),
            white_balance=(float(1 + warm), float(1 + tint), float(1 - 1.4 * warm)),
            flicker=float(rng.uniform(0.0, 0.08)),
            vignette=float(rng.uniform(0.0, 0.35)),
            blur=float(rng.uniform(0.3, 1.1)),
            noise=float(rng.uniform(1.0, 5.0)),
        )

    def jittered(self, rng: np.random.Generator) -> Conditions:
        """The same day a moment later: another fruit on the turntable."""
        return replace(
            self,
            elevation=self.elevation + float(rng.normal(0, 4)),
            side=self.side + float(rng.normal(0, 5)),
            exposure=self.exposure * float(np.exp(rng.normal(0, 0.08))),
            flicker=self.flicker * float(rng.uniform(0.3, 1.5)),
            blur=self.blur * float(rng.uniform(0.8, 1.3)),
        )


def make_texture(
    rng: np.random.Generator, style: Style, net: Net, blemishes: Sequence[Blemish], axis: Array
) -> Texture:
    """Skin, net, dry stem and blossom scar at the ends of `axis`, and blemishes, unlit."""
    height = net.cover.shape[0]
    skin, cork = _linear(_shade(rng, style.skin)), _linear(_shade(rng, style.cork))
    mottle = noise(rng, 3.0, height, 3)
    fine = _grain(rng, height)
    skin_field = skin * np.exp(0.05 * mottle + 0.07 * mottle[..., :1] + 0.035 * fine[..., None])
    cork_field = cork * (1 + 0.09 * fine[..., None])
    # The skin is darkest beside the cork, where it has grown over the crack.
    hollow = 1 - 0.25 * smoothstep(0.02, 0.4, net.cover)[..., None]
    albedo = skin_field * hollow
    albedo = albedo + net.cover[..., None] * (cork_field - albedo)
    relief = net.relief
    for spot, colour in _ends(rng, height, axis):
        albedo = albedo + spot[..., None] * (_linear(colour) - albedo)
        relief = relief * (1 - spot)
    for blemish in blemishes:
        tone = _linear(blemish.colour) * (1 + 0.12 * fine[..., None])
        albedo = albedo + blemish.opacity[..., None] * (tone - albedo)
        relief = relief + blemish.smoothing * (blemish.relief - relief)
    return Texture(np.clip(albedo, 0.005, 1).astype(np.float32), relief.astype(np.float32))


def render_surface(
    rng: np.random.Generator, texture: Texture, conditions: Conditions
) -> NDArray[np.uint8]:
    """The panorama (H, 2H, 3) uint8 that a camera unrolls from a turning sphere.

    Each column is lit as it faces the camera, so the light depends on latitude and relief, not on
    longitude. The body's own shape leaves no trace: it is judged on the outline.
    """
    height = texture.relief.shape[0]
    latitude = np.arcsin(directions(height)[..., 2])
    step = np.pi / height
    south, east = np.gradient(texture.relief, step)
    east = east / np.maximum(np.cos(latitude), 0.3)
    lift, side = np.deg2rad(conditions.elevation), np.deg2rad(conditions.side)
    towards_camera = np.cos(lift) * np.cos(side)
    outward = np.cos(latitude) * towards_camera + np.sin(latitude) * np.sin(lift)
    northward = -np.sin(latitude) * towards_camera + np.cos(latitude) * np.sin(lift)
    eastward = np.cos(lift) * np.sin(side)
    slope = np.clip(south, -1.5, 1.5) * northward - np.clip(east, -1.5, 1.5) * eastward
    direct = np.clip((outward + slope) / np.sqrt(1 + south**2 + east**2), 0, None)
    light = conditions.ambient + 1.1 * (1 - conditions.ambient) * direct
    turn = np.linspace(0, 2 * np.pi, 2 * height, endpoint=False) + rng.uniform(0, 2 * np.pi)
    light = light * (1 + conditions.flicker * np.sin(turn))
    light = light * (1 - conditions.vignette * (2 * np.abs(latitude) / np.pi) ** 2)

    gains = 1.25 * conditions.exposure * np.array(conditions.white_balance, dtype=np.float32)
    linear = texture.albedo * light[..., None].astype(np.float32) * gains
    image = np.clip(linear, 0, 1) ** np.float32(conditions.contrast / _GAMMA)
    image = blur(image.astype(np.float32), conditions.blur * height / 256)
    # Towards the ends the camera sees the surface ever more obliquely.
    oblique = smoothstep(0.85, 1.5, np.abs(latitude).astype(np.float32))[..., None]
    coarse = cv2.GaussianBlur(image, (0, 0), sigmaX=0.1, sigmaY=2.5 * height / 256)
    image = image + oblique * (coarse - image)
    grain = rng.normal(0, conditions.noise / 255, image.shape[:2]).astype(np.float32)
    noisy = np.rint((image + grain[..., None]) * 255)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def _linear(colour: Array) -> Array:
    result: Array = (colour / np.float32(255)) ** np.float32(_GAMMA)
    return result


def _shade(rng: np.random.Generator, palette: tuple[tuple[float, float, float], ...]) -> Array:
    """A colour of the palette, lighter or darker."""
    shade: Array = np.clip(mix(rng, palette) * np.float32(rng.uniform(0.85, 1.12)), 10, 245)
    return shade


def _grain(rng: np.random.Generator, height: int) -> Array:
    """Fine unevenness of the surface (H, 2H), unit variance."""
    grain = blur(rng.standard_normal((height, 2 * height), dtype=np.float32), 1.3 * height / 256)
    result: Array = grain / grain.std()
    return result


def _ends(rng: np.random.Generator, height: int, axis: Array) -> list[tuple[Array, Array]]:
    """Opacity (H, 2H) and colour of the dry stem and the blossom scar, present on every fruit."""
    up = directions(height) @ axis
    spots = []
    for side, low, high in ((1.0, 5.0, 13.0), (-1.0, 3.0, 10.0)):
        angle = np.rad2deg(np.arccos(np.clip(side * up, -1, 1)))
        ragged = rng.uniform(low, high) * (1 + 0.2 * noise(rng, 6.0, height))
        spot = smoothstep(1.3, 0.8, angle / np.maximum(ragged, 1)) * float(rng.uniform(0.6, 0.95))
        darkness = float(rng.uniform(0.25, 1.0))
        colour = np.array((150, 128, 88), dtype=np.float32) * np.float32(darkness)
        spots.append((spot, colour))
    return spots
