"""The heat map: panels, labels that can be read, and a picture that shows something."""

import io
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.report.attention_figure import build_figure, draw_attentions


def draw_maps(n_tokens: int, layers: tuple[int, ...] = (2,)) -> dict[int, NDArray[np.float64]]:
    """Return random maps whose rows sum to 1."""
    generator = np.random.default_rng(0)
    return {layer: generator.dirichlet(np.full(n_tokens, 0.1), n_tokens) for layer in layers}


def decode(png: bytes) -> NDArray[np.float32]:
    """Return a PNG's pixels, (height, width, colour)."""
    pixels: NDArray[np.float32] = np.asarray(matplotlib.image.imread(io.BytesIO(png)))
    return pixels


def test_picture_is_not_blank() -> None:
    """A figure without a canvas, or a scale that swallows all values, gives one colour."""
    pixels = decode(draw_attentions(draw_maps(12), [f"t{n}" for n in range(12)], "title"))
    assert pixels.shape[0] > 250 and pixels.shape[1] > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100


def test_other_maps_are_other_pictures() -> None:
    """The map must be in the picture, not only its frame."""
    maps = draw_maps(6)
    first = draw_attentions(maps, None, "title")
    assert draw_attentions(maps, None, "title") == first
    turned = draw_attentions({2: maps[2].T}, None, "title")
    assert decode(turned).shape == decode(first).shape and turned != first


def test_one_panel_a_layer() -> None:
    """Layers beyond one line of panels must not be lost; all share one scale."""
    figure = build_figure(draw_maps(5, (1, 3, 4, 7)), None, "title")
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["layer 1", "layer 3", "layer 4", "layer 7"]
    assert len({axes.images[0].norm for axes in panels}) == 1
    assert any(axes.get_ylabel() == "attention probability" for axes in figure.axes)


@pytest.mark.parametrize("n_tokens", [1, 2, 30, 128, 512])
def test_labels_never_overlap(n_tokens: int) -> None:
    """With a label for each of 128 tokens, none can be read."""
    figure = build_figure(draw_maps(n_tokens), [f"token{n}" for n in range(n_tokens)], "title")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    labels = axes.get_yticklabels()
    places = [int(place) for place in axes.get_yticks()]
    assert [label.get_text() for label in labels] == [f"token{place}" for place in places]
    assert len(labels) == n_tokens if n_tokens <= 30 else len(labels) > 20
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_tokens_are_shown_as_they_are() -> None:
    """`$` begins a formula in matplotlib, and a missing glyph is a warning on every run."""
    tokens = ["$a$", "_b^", "日本", "a-very-long-token", ""]
    axes = build_figure(draw_maps(5), tokens, "$x 日").axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["$a$", "_b^", "□□", "a-very-long-t…", ""]
    assert draw_attentions(draw_maps(5), tokens, "$x 日 $")  # warnings are errors
