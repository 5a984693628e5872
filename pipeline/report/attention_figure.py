"""Attention maps of one row as heat maps, one panel a layer."""

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray

_FONT = "DejaVu Sans"
"""Comes with matplotlib, so that the figure is the same everywhere."""
_FONT_SIZE = 8.0
_DPI = 110
_MOST_COLUMNS = 3
_TICKS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_LONGEST_LABEL = 14
_UNKNOWN = "\N{WHITE SQUARE}"


def draw_attentions(
    maps: Mapping[int, NDArray[np.floating]], tokens: Sequence[str] | None, title: str
) -> bytes:
    """Return a PNG of a row's attention maps by layer.

    Each map is (query, key), probabilities that sum to 1 over the keys. All panels share
    one colour scale, which is not linear: most probabilities are small.
    """
    with matplotlib.style.context(["default", {"font.family": [_FONT], "font.size": _FONT_SIZE}]):
        output = io.BytesIO()
        build_figure(maps, tokens, title).savefig(output, format="png")
    return output.getvalue()


def build_figure(
    maps: Mapping[int, NDArray[np.floating]], tokens: Sequence[str] | None, title: str
) -> Figure:
    """Return the figure as matplotlib holds it."""
    n_tokens = len(next(iter(maps.values())))
    n_columns = min(len(maps), _MOST_COLUMNS)
    n_rows = math.ceil(len(maps) / n_columns)
    side = min(max(0.16 * n_tokens, 2.4), 6.4)  # of a panel, in inches
    figure = Figure(
        figsize=(n_columns * (side + 0.9) + 0.8, n_rows * (side + 1.1) + 0.4),
        dpi=_DPI,
        layout="constrained",
    )
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    largest = max(float(values.max()) for values in maps.values())
    norm = PowerNorm(0.4, vmin=0, vmax=largest)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    for axes, (layer, values) in zip(grid.flat, maps.items(), strict=False):
        image = axes.imshow(values, cmap="YlGnBu", norm=norm, interpolation="nearest")
        axes.set_title(f"layer {layer}", fontsize=_FONT_SIZE + 2)
        _label(axes, n_tokens, tokens, side)
    colorbar = figure.colorbar(image, ax=grid, shrink=0.8, aspect=30, pad=0.02)
    colorbar.set_label("attention probability")
    ticks = [tick for tick in _TICKS if tick <= largest]
    colorbar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    figure.suptitle(_printable(title), fontsize=_FONT_SIZE + 3, parse_math=False)
    figure.supxlabel("attended token (key)")
    figure.supylabel("attending token (query)")
    return figure


def _label(axes: Axes, n_tokens: int, tokens: Sequence[str] | None, side: float) -> None:
    """Name the tokens on both axes, as many as can be read."""
    n_readable = side * 72 / (1.3 * _FONT_SIZE)
    places = range(0, n_tokens, math.ceil(n_tokens / n_readable))
    names = [str(place) if tokens is None else _shorten(tokens[place]) for place in places]
    axes.set_xticks(places, names, rotation=90, fontsize=_FONT_SIZE, parse_math=False)
    axes.set_yticks(places, names, fontsize=_FONT_SIZE, parse_math=False)
    axes.tick_params(length=2, pad=2)


def _shorten(token: str) -> str:
    printable = _printable(token)
    return printable if len(printable) <= _LONGEST_LABEL else printable[: _LONGEST_LABEL - 1] + "…"


def _printable(text: str) -> str:
    """Return a text with a square for each character that the font does not have."""
    return "".join(char if ord(char) in _characters() else _UNKNOWN for char in text)


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(findfont(_FONT)).get_charmap())
