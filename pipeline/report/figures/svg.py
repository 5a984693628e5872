"""Figures as SVG, written here: the report needs lines, bars, points, names and heat, and no more.

A plotting library would take three of the report's four seconds to import and draw. Equal input
gives equal bytes: there is no date and no identifier. Text stays text, and is escaped. Text and
axes are drawn in `currentColor`, so that a figure follows a light and a dark page; heat is the
transparency of one colour. Lengths are in points, from the upper left corner.
"""

import math
import struct
import unicodedata
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape

INK = "currentColor"
STUDENT_COLOUR = "#2f74d0"
TEACHER_COLOUR = "#c4590c"
COLOURS = (STUDENT_COLOUR, TEACHER_COLOUR, "#2a8755", "#8d5fd3", "#b8407f", "#7a7a1f", "#16818c")
"""Each has a contrast of at least 3 to 1 against the light and the dark background."""
FONT_SIZE = 10.0

_MOST_OPAQUE = 0.8
"""So that text on the fullest heat can still be read, dark or light."""
_LARGEST = 1.3
"""How many CSS pixels a point may take in a page."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"

AREA_OPACITY = 0.75
_GRID_OPACITY = 0.12
_LEGEND_LINE = 13.0

Point = tuple[float, float]
Tick = tuple[float, str]
"""A value on an axis, and its name."""


@dataclass(frozen=True)
class Entry:
    """A line of a legend."""

    name: str
    colour: str
    width: float = 1.6
    is_dashed: bool = False
    is_area: bool = False


class Figure:
    """A drawing; what is drawn later covers what was drawn before."""

    def __init__(self, width: float, height: float) -> None:
        self._width, self._height = width, height
        self._parts: list[str] = []

    def inline(self) -> Markup:
        """Return it as a part of a page, as wide as there is room for, up to a limit."""
        return self._svg(f'style="max-width: {_LARGEST * self._width:.0f}px"')

    def document(self) -> bytes:
        """Return it as a file of its own, in UTF-8, dark on light."""
        size = f'width="{_LARGEST * self._width:.0f}" height="{_LARGEST * self._height:.0f}"'
        attributes = f'xmlns="http://www.w3.org/2000/svg" color="#1f2328" {size}'
        background = '<rect width="100%" height="100%" fill="#ffffff"/>'
        svg = self._svg(attributes, background)
        return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}\n'.encode()

    def _svg(self, attributes: str, *first: str) -> Markup:
        box = f'viewBox="0 0 {self._width:.1f} {self._height:.1f}" font-family="{_FONT}"'
        body = "\n".join([*first, *self._parts])
        return Markup(f"<svg {attributes} {box}>\n{body}\n</svg>")

    def line(
        self,
        points: Sequence[Point],
        colour: str = INK,
        width: float = 1.0,
        opacity: float = 1.0,
        *,
        is_dashed: bool = False,
    ) -> None:
        """Draw a line through points."""
        dashes = ' stroke-dasharray="4 3"' if is_dashed else ""
        self._parts.append(
            f'<polyline points="{_join(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:g}" stroke-opacity="{opacity:g}"{dashes}/>'
        )

    def area(self, corners: Sequence[Point], colour: str, opacity: float = 1.0) -> None:
        """Fill a polygon."""
        self._parts.append(
            f'<polygon points="{_join(corners)}" fill="{colour}" fill-opacity="{opacity:g}"/>'
        )

    def dot(self, middle: Point, radius: float, colour: str, *, is_diamond: bool = False) -> None:
        """Draw a point, with a rim of the page's colour that tells it from its neighbours."""
        x, y = middle
        rim = f'fill="{colour}" stroke="var(--surface, #ffffff)"'
        if is_diamond:
            corners = ((x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y))
            self._parts.append(f'<polygon points="{_join(corners)}" {rim}/>')
        else:
            self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {rim}/>')

    def text(
        self,
        place: Point,
        text: str,
        anchor: str = "middle",
        size: float = FONT_SIZE,
        *,
        is_upright: bool = False,
    ) -> None:
        """Write a line, its middle height at `place`; `is_upright` is read from below to above.

        `anchor` says which part of it is at `place`: `start`, `middle` or `end`.
        """
        if not text:
            return
        x, y = place
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if is_upright else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" dy=".35em" text-anchor="{anchor}" '
            f'font-size="{size:g}" fill="{INK}"{turn}>{escape(text)}</text>'
        )

    def heat(
        self, corner: Point, size: Point, values: Float[np.ndarray, "row column"], colour: str
    ) -> None:
        """Draw values from 0, clear, to 1, full of colour, one pixel each, in a frame.

        Others are clipped; what is not a number is clear.
        """
        (x, y), (width, height) = corner, size
        image = b64encode(_png(values, colour)).decode()
        box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._parts.append(
            f'<image {box} preserveAspectRatio="none" style="image-rendering: pixelated" '
            f'href="data:image/png;base64,{image}"/>\n'
            f'<rect {box} fill="none" stroke="{INK}" stroke-opacity="0.35"/>'
        )

    def legend(self, left: float, right: float, top: float, entries: Sequence[Entry]) -> float:
        """Write a legend line by line from `left` to `right`; return where it ends, below."""
        x, y, size = left, top + 0.6 * _LEGEND_LINE, FONT_SIZE - 1
        for entry in entries:
            width = 15 + text_width(entry.name, size)
            if x > left and x + width > right:
                x, y = left, y + _LEGEND_LINE
            if entry.is_area:
                self.area(_corners(x, y - 4, x + 11, y + 4), entry.colour, AREA_OPACITY)
            else:
                key = [(x, y), (x + 11, y)]
                self.line(key, entry.colour, entry.width, is_dashed=entry.is_dashed)
            self.text((x + 15, y), entry.name, "start", size)
            x += width + 10
        return y + 0.6 * _LEGEND_LINE


@dataclass(frozen=True)
class Scale:
    """Where the values of an axis lie on it."""

    low: float
    high: float
    """Above `low`."""
    transform: Callable[[float], float] = float
    """`math.log` of a logarithmic axis; `math.log1p` of one that begins at 0."""

    def share(self, value: float) -> float:
        """Return how far along the axis a value lies, 0 to 1."""
        low, high = self.transform(self.low), self.transform(self.high)
        return (self.transform(value) - low) / (high - low)


@dataclass(frozen=True)
class Plot:
    """A part of a figure that has two axes; `top` is above `bottom`, so smaller."""

    figure: Figure
    left: float
    right: float
    top: float
    bottom: float
    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> Point:
        """Return where these values lie in the figure."""
        return (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )

    def points(self, values: Iterable[Point]) -> list[Point]:
        """Return where points lie in the figure that are given by their values."""
        return [self.at(x, y) for x, y in values]

    def level(self, y: float, colour: str) -> None:
        """Draw a dashed line across, at this value."""
        ends = self.points([(self.x.low, y), (self.x.high, y)])
        self.figure.line(ends, colour, is_dashed=True)

    def stairs(self, counts: Sequence[float], colour: str, *, is_filled: bool) -> None:
        """Draw the counts of bins of equal width, which fill the axis across."""
        edges = np.linspace(self.x.low, self.x.high, len(counts) + 1).tolist()
        steps = [
            (edge, count)
            for number, count in enumerate(counts)
            for edge in edges[number : number + 2]
        ]
        outline = self.points([(edges[0], self.y.low), *steps, (edges[-1], self.y.low)])
        if is_filled:
            self.figure.area(outline, colour, AREA_OPACITY)
        else:
            self.figure.line(outline, colour, 1.8)

    def axis_below(self, ticks: Sequence[Tick], label: str = "", *, has_grid: bool = True) -> None:
        """Draw the axis across, with a name at each tick and its label below."""
        for value, name in ticks:
            x, _ = self.at(value, self.y.low)
            if has_grid:
                self.figure.line([(x, self.top), (x, self.bottom)], opacity=_GRID_OPACITY)
            self.figure.line([(x, self.bottom), (x, self.bottom + 3)])
            self.figure.text((x, self.bottom + 10), name)
        self.figure.line([(self.left, self.bottom), (self.right, self.bottom)])
        self.figure.text(((self.left + self.right) / 2, self.bottom + 24), label)

    def axis_left(self, ticks: Sequence[Tick], label: str = "", *, has_grid: bool = True) -> None:
        """Draw the axis upwards, with a name at each tick and its label at the figure's edge."""
        for value, name in ticks:
            _, y = self.at(self.x.low, value)
            if has_grid:
                self.figure.line([(self.left, y), (self.right, y)], opacity=_GRID_OPACITY)
            self.figure.line([(self.left - 3, y), (self.left, y)])
            self.figure.text((self.left - 5, y), name, "end")
        self.figure.line([(self.left, self.top), (self.left, self.bottom)])
        self.figure.text((8, (self.top + self.bottom) / 2), label, is_upright=True)


def round_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Return round numbers within these bounds, all written to one digit."""
    rough = (high - low) / most
    decade = 10 ** math.floor(math.log10(rough))
    step = next(part * decade for part in (1, 2, 2.5, 5, 10) if part * decade >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    if max(map(abs, values), default=0) >= 1e6 or step < 1e-4:
        return [(value, f"{value:z.4g}") for value in values]
    n_digits = next(
        n for n in range(8) if all(abs(one - round(one, n)) < step / 100 for one in values)
    )
    return [(value, f"{value:z,.{n_digits}f}") for value in values]


def log_ticks(low: float, high: float) -> list[Tick]:
    """Return round numbers between two above 0, for a logarithmic axis."""
    ratio = high / low
    if ratio < 2.5:
        return round_ticks(low, high, 4)
    parts = (1.0, 2.0, 5.0) if ratio > 15 else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [part * 10.0**n for n in decades for part in (parts if ratio < 300 else (1.0,))]
    return [(value, f"{value:.6g}") for value in values if low <= value <= high]


def shorten(text: str, most: float, size: float = FONT_SIZE) -> str:
    """Return a text cut to a width in points, with an ellipsis where something is left out."""
    if text_width(text, size) <= most:
        return text
    while text and text_width(f"{text}…", size) > most:
        text = text[:-1]
    return f"{text}…"


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Return about how wide a browser draws a text, in points; rather too much than too little."""
    return size * sum(map(_advance, text))


@cache
def _advance(character: str) -> float:
    """Return the width of a character as a share of the font's size."""
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or character in "mwMW@%…—":
        return 1.0
    if character in "ijlI.,:;|!' ":
        return 0.34
    if character in "frt()[]{}/-":
        return 0.45
    return 0.72 if character.isupper() else 0.64


def _join(points: Sequence[Point]) -> str:
    return " ".join(f"{x:z.1f},{y:z.1f}" for x, y in points)


def _corners(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _png(values: Float[np.ndarray, "row column"], colour: str) -> bytes:
    """Return a PNG of one colour, of which the values are the opacity."""
    n_rows, n_columns = values.shape
    pixels = np.empty((n_rows, n_columns, 4), np.uint8)
    pixels[..., :3] = tuple(bytes.fromhex(colour.removeprefix("#")))
    pixels[..., 3] = np.rint(255 * _MOST_OPAQUE * np.clip(np.nan_to_num(values), 0, 1))
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)  # 0: each line as it is
    header = struct.pack(">2I5B", n_columns, n_rows, 8, 6, 0, 0, 0)  # 8 bits of RGBA
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
