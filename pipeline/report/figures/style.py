"""How the report's figures look, and how they become SVG.

The bytes depend on what is drawn and on matplotlib's version alone: no date, no random
identifiers, no settings of the user's. Text stays text, and is never read as markup. Heat
is the transparency of one colour, so that a figure follows a light and a dark page alike.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from functools import cache

import matplotlib.style
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font, LoadFlags

INK = "#1f2328"
"""Text and axes. The page replaces it, so that the figure follows a dark theme."""

SURFACE = "#ffffff"
"""Background; replaced likewise."""

STUDENT_COLOUR = "#2f74d0"
TEACHER_COLOUR = "#c4590c"

COLOURS = (STUDENT_COLOUR, TEACHER_COLOUR, "#2a8755", "#8d5fd3", "#b8407f", "#7a7a1f", "#16818c")
"""Each has a contrast of at least 3 to 1 against the light and the dark background."""

DOTS_PER_INCH = 72
"""Of an SVG: a length in points is one in pixels."""

FONT_SIZE = 10.0

_MOST_OPAQUE = 0.8
"""So that text on the fullest heat can still be read, dark or light."""

_STYLE = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": FONT_SIZE,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": SURFACE,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "figure.dpi": DOTS_PER_INCH,
    "legend.frameon": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

_MISSING_GLYPH = r"Glyph \d+ .* missing from font"
"""Matplotlib's warning of a character that its own font lacks. It measures texts with that font; an
SVG has the text itself, which the browser draws with the fonts of the reader."""

_MEASURED_FONT = "DejaVu Sans"
"""Comes with matplotlib, and is wider than most."""

_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def to_svg(build: Callable[[], Figure], name: str) -> bytes:
    """Return the figure that `build` makes as an SVG document in UTF-8.

    `name` goes into its identifiers: figures of one page need different names.
    """
    with (
        matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": name}]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", _MISSING_GLYPH, UserWarning)
        output = io.BytesIO()
        build().savefig(output, format="svg", metadata=_NO_METADATA)
    # matplotlib numbers its groups alike in every figure; nothing refers to those numbers.
    return re.sub(rb'<g id="[\w.]+_\d+"', b"<g", output.getvalue())


def draw_heat(
    axes: Axes, values: Float[np.ndarray, "row column"], colour: str = STUDENT_COLOUR
) -> None:
    """Draw values from 0, clear, to 1, full of colour, one pixel each; others are clipped."""
    pixels = np.empty((*values.shape, 4))
    pixels[..., :3] = to_rgb(colour)
    pixels[..., 3] = _MOST_OPAQUE * np.clip(np.nan_to_num(values), 0, 1)
    axes.imshow(pixels, interpolation="none", aspect="equal")
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)
    axes.tick_params(length=2, pad=2)


def shorten(text: str, n_characters: int) -> str:
    """Return a text cut to so many characters, with an ellipsis where something is left out."""
    return text if len(text) <= n_characters else text[: n_characters - 1] + "…"


def shorten_to(text: str, most_points: float, font_size: float) -> str:
    """Return a text cut to that width, with an ellipsis where something is left out."""
    if width_of(text, font_size) <= most_points:
        return text
    kept = text
    while kept and width_of(f"{kept}…", font_size) > most_points:
        kept = kept[:-1]
    return f"{kept}…"


def width_of(text: str, font_size: float) -> float:
    """Return about how wide a text is that a browser draws in that size, in points."""
    return font_size * sum(map(_advance, text))


@cache
def _advance(character: str) -> float:
    """Return the width of a character as a share of the font's size."""
    if unicodedata.combining(character):
        return 0.0
    font = FT2Font(findfont(_MEASURED_FONT))
    if ord(character) not in font.get_charmap():
        return 1.0  # as wide as those of Chinese
    font.set_size(100, DOTS_PER_INCH)
    return float(font.load_char(ord(character), LoadFlags.NO_HINTING).linearHoriAdvance) / 6_553_600
