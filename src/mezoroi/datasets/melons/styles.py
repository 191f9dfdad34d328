"""The parameters of the two variants of made-up melons. Frozen with `GENERATOR_VERSION`."""

from __future__ import annotations

from dataclasses import dataclass

from mezoroi.errors import MezoroiError

Range = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Style:
    """Ranges from which one melon's appearance is drawn, the same for every grade.

    Attributes
    ----------
    spacing : distance between neighbouring net cells, radians on the unit sphere
    coverage : share of the judged surface that is cork
    meander : how far net lines stray, relative to the spacing
    meander_length : wavelength of the straying, relative to the spacing
    fine_lines : share of the fruit where second-level lines show
    line_softness : width of a line's edge, relative to its width
    skin, cork : sRGB corner colours between which a colour is mixed, 0 to 255
    scars, stains, moulds : sRGB colours of blemishes, 0 to 255
    light_elevation : degrees above the horizon
    ambient : share of the light that comes from everywhere
    exposure : factor on the light
    stain_edge : softness of a stain's edge, relative to its radius
    mould_size : radius of a mould spot, relative to its patch
    """

    spacing: Range = (0.17, 0.25)
    coverage: Range = (0.30, 0.42)
    meander: Range = (0.05, 0.09)
    meander_length: Range = (0.9, 1.5)
    fine_lines: Range = (0.05, 0.3)
    line_softness: Range = (0.25, 0.45)
    skin: tuple[Colour, ...] = ((118, 138, 96), (150, 160, 98), (142, 158, 132), (104, 128, 84))
    cork: tuple[Colour, ...] = ((205, 200, 166), (190, 190, 172), (216, 205, 170), (186, 178, 140))
    scars: tuple[Colour, ...] = ((182, 162, 124), (162, 142, 108), (200, 186, 150))
    stains: tuple[Colour, ...] = ((112, 88, 52), (78, 92, 46), (124, 108, 58))
    moulds: tuple[Colour, ...] = ((34, 36, 34), (48, 46, 40), (40, 46, 44))
    light_elevation: Range = (10.0, 60.0)
    ambient: Range = (0.35, 0.65)
    exposure: Range = (0.7, 1.3)
    stain_edge: float = 0.25
    mould_size: Range = (0.05, 0.13)


STYLES: dict[str, Style] = {
    "standard": Style(),
    "held-out": Style(
        spacing=(0.15, 0.19),
        coverage=(0.26, 0.34),
        meander=(0.07, 0.11),
        meander_length=(0.8, 1.2),
        fine_lines=(0.2, 0.45),
        line_softness=(0.4, 0.7),
        skin=((128, 142, 112), (166, 166, 110), (112, 134, 100)),
        cork=((212, 206, 184), (196, 188, 156), (208, 208, 190)),
        scars=((170, 152, 128), (192, 172, 132)),
        stains=((98, 78, 58), (92, 96, 60), (136, 112, 72)),
        moulds=((46, 44, 50), (30, 34, 28)),
        light_elevation=(-10.0, 35.0),
        ambient=(0.5, 0.8),
        exposure=(0.65, 1.2),
        stain_edge=0.5,
        mould_size=(0.04, 0.16),
    ),
}


def style_of(variant: str) -> Style:
    """The style of a variant."""
    if variant not in STYLES:
        raise MezoroiError(f"unknown melon variant `{variant}`: use {' or '.join(STYLES)}")
    return STYLES[variant]
