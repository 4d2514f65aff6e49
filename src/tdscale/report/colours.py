"""Colours of the figures by light and in the dark: each is a variable of the page's style sheet."""

import colorsys
import re

# what the scripts of the page draw with
OF_THE_PAGE = ("#0072b2", "#d55e00", "#8a8a8a", "#222222", "#ffffff")
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_DARK_CARD, _DARK_INK = 0.13, 0.92  # lightness of the page's cards and text in the dark
_GREY = 0.08  # below this saturation a colour is a grey
_LIGHT_ENOUGH = 0.62


def name_of(colour: str) -> str:
    """The variable that stands for a colour "#rrggbb"."""
    return f"--k{colour[1:].lower()}"


def in_the_dark(colour: str) -> str:
    """A grey is turned round, white the card's and black the text's; a colour is as light as it must be."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    light = _DARK_INK - (_DARK_INK - _DARK_CARD) * light if saturation < _GREY else max(light, _LIGHT_ENOUGH)
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, light, saturation))


def with_variables(svg: str) -> str:
    """An SVG whose colours follow the page: as they are by light and in print, others in the dark."""
    return _HEX.sub(lambda found: f"var({name_of(found[0])})" if found.start() and svg[found.start() - 1] != "(" else found[0], svg)


def colours_in(text: str) -> list[str]:
    """The colours of a text, sorted."""
    return sorted({found.lower() for found in _HEX.findall(text)})


def rules(colours: list[str]) -> tuple[str, str]:
    """Declarations of the variables: by light, in the dark."""
    light = "".join(f"{name_of(colour)}:{colour};" for colour in colours)
    return light, "".join(f"{name_of(colour)}:{in_the_dark(colour)};" for colour in colours)
