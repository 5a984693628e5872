"""Names beside the points of a figure, so placed that they can be told apart."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

_RADII = (10.0, 22.0, 36.0, 52.0)
"""Distances of a name from its point, in pixels; the nearest free place is taken."""

_DIRECTIONS_DEGREES = (0, 180, 90, 270, 45, 135, 315, 225)

_MARKER_RADIUS = 6.0

_LINE_HALF_WIDTH = 1.5


_LINE_STEPS = 24
"""Boxes that stand for one straight piece of a line."""


def place_labels(
    axes: Axes,
    labelled_points: Sequence[tuple[str, float, float]],
    line_y: float,
    path: Sequence[tuple[float, float]] = (),
) -> None:
    """Write the name of each (name, x, y) beside its point, off other names and points.

    The axes must have their final limits; `line_y` is the height of a horizontal line
    that names keep off, `path` the corners of another line. A name that finds no free place
    goes where it covers least; one that is not right beside its point is joined to it by a
    thin line.
    """
    positions = axes.transData.transform([(x, y) for _, x, y in labelled_points])
    line_pixel = axes.transData.transform((axes.get_xlim()[0], line_y))[1]
    taken = [_box_around(x, y, _MARKER_RADIUS, _MARKER_RADIUS) for x, y in positions]
    middle = (axes.bbox.x0 + axes.bbox.x1) / 2
    taken.append(_box_around(middle, line_pixel, axes.bbox.width / 2, _LINE_HALF_WIDTH))
    taken += _boxes_along(axes, path)
    for (name, _, _), (x, y) in zip(labelled_points, positions, strict=True):
        taken.append(_write_beside(axes, name, (float(x), float(y)), taken))


def _boxes_along(axes: Axes, path: Sequence[tuple[float, float]]) -> list[Bbox]:
    """Return small boxes that cover a line of straight pieces, in pixels."""
    if len(path) < 2:
        return []
    corners = axes.transData.transform(path)
    return [
        _box_around(x, y, _LINE_HALF_WIDTH, _LINE_HALF_WIDTH)
        for begin, end in pairwise(corners)
        for x, y in np.linspace(begin, end, _LINE_STEPS).tolist()
    ]


def _write_beside(axes: Axes, name: str, point: tuple[float, float], taken: Sequence[Bbox]) -> Bbox:
    """Write one name at the best of its places and return the box it fills, in pixels."""
    text = axes.text(
        0, 0, name, transform=axes.transAxes, parse_math=False, va="center", ha="center"
    )
    size = text.get_window_extent()
    places = [
        (radius, _box_beside(point, size, radius, degrees))
        for radius in _RADII
        for degrees in _DIRECTIONS_DEGREES
    ]
    corners = np.array([box.extents for box in taken])
    radius, box = min(places, key=lambda place: _covered_area(place[1], corners, axes.bbox))
    to_axes = axes.transAxes.inverted()
    middle_x, middle_y = to_axes.transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
    text.set_position((middle_x, middle_y))
    if radius > _RADII[0]:
        end = min(max(point[0], box.x0), box.x1), min(max(point[1], box.y0), box.y1)
        xs, ys = to_axes.transform([point, end]).T
        axes.plot(xs, ys, transform=axes.transAxes, color=text.get_color(), linewidth=0.6, zorder=1)
    return box


def _box_beside(point: tuple[float, float], size: Bbox, radius: float, degrees: float) -> Bbox:
    """Return the box of a text of this size whose near edge or corner is `radius` away."""
    right, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _box_around(
        point[0] + radius * right + size.width / 2 * _sign(right),
        point[1] + radius * up + size.height / 2 * _sign(up),
        size.width / 2,
        size.height / 2,
    )


def _sign(value: float) -> int:
    return 0 if abs(value) < 0.1 else 1 if value > 0 else -1


def _box_around(x: float, y: float, half_width: float, half_height: float) -> Bbox:
    return Bbox([(x - half_width, y - half_height), (x + half_width, y + half_height)])


def _covered_area(label: Bbox, taken: Float[np.ndarray, "box corner"], inside: Bbox) -> float:
    """Return how much of the label lies on what is taken or outside of the axes."""
    widths = np.minimum(label.x1, taken[:, 2]) - np.maximum(label.x0, taken[:, 0])
    heights = np.minimum(label.y1, taken[:, 3]) - np.maximum(label.y0, taken[:, 1])
    on_others = (widths.clip(min=0) * heights.clip(min=0)).sum()
    visible = Bbox.intersection(label, inside)
    outside = label.width * label.height - (visible.width * visible.height if visible else 0)
    return float(on_others + 2 * max(outside, 0.0))
