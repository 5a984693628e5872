"""What every signal of the table must hold; a new one is tested by being listed."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification

import pipeline.store
from pipeline.models.architecture import Architecture
from pipeline.models.head import AtTargets
from pipeline.models.inputs import Inputs
from pipeline.models.probe import Probe
from pipeline.signals import SIGNALS
from pipeline.signals.axis import Axis, SegmentSize
from pipeline.signals.logits import TOKEN_LOGITS
from pipeline.signals.signal import NO_LAYER, NUMPY_TYPES, Array, Signal
from pipeline.store.dataset import _array_name, field_name
from pipeline.store.spec import SIGNAL_FOLDERS, parse_array_name
from pipeline.teacher.capture_settings import SignalsSettings
from pipeline.text.token_row import PiecesAsked, TokenRow
from tests.conftest import make_model, make_rows
from tests.two_stacks import PAD, make_two_stacks

FORMAT = Path(pipeline.store.__path__[0]) / "FORMAT.md"
TEACHER = Architecture(
    model_type="bart",
    n_layers=5,
    n_heads=7,
    hidden_size=11,
    n_labels=1009,
    head_reads="first",
    n_decoder_layers=3,
)
SIZE = SegmentSize(13, 101, 1511, 17, 191, 1999)
LETTERS = {
    **{"N": 5, "H": 7, "D": 11, "L": 1009, "K": 64},
    **{"R": 13, "T": 101, "P": 1511, "U": 17, "Q": 191, "X": 1999},
}
"""The letters of FORMAT.md; what is compared of shapes is made of different primes."""

each = pytest.mark.parametrize("signal", SIGNALS.values(), ids=lambda signal: signal.name)


def arrays_of(signal: Signal) -> list[Array]:
    """Return an array of a signal, of its lowest layer and k, and its mean over heads."""
    layer = signal.first_layer if signal.has_layers else NO_LAYER
    k = LETTERS["K"] if "{k}" in signal.array_name else 0
    array = Array(signal, layer, k=k)
    return [array, Array(signal, layer, "mean")] if "{mean}" in signal.array_name else [array]


def documented() -> dict[str, tuple[str, str]]:
    """Return shape and axis names by array name, from the table of arrays in FORMAT.md."""
    rows = {}
    for line in FORMAT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[1].startswith("("):
            names = re.findall(r"`([^`]+)`", cells[0])
            shapes = re.findall(r"\([^)]*\)", cells[1])
            rows |= {name: (shape, cells[2]) for name, shape in zip(names, shapes, strict=True)}
    return rows


def name_in_page(array: Array) -> str:
    """Return how FORMAT.md writes an array's name, whatever its layer and k."""
    mean = "-mean" if array.heads == "mean" else ""
    return array.signal.array_name.format(layer="KK", mean=mean, k="K")


@each
def test_the_page_has_its_arrays(signal: Signal) -> None:
    """Catches a signal that a second reader cannot read, or whose shape is another there."""
    for array in arrays_of(signal):
        shape, axes = documented()[name_in_page(array)]
        terms = [_factors(term) for term in shape.strip("(),").split(",")]
        numbers = [math.prod(eval(part, dict(LETTERS)) for part in term) for term in terms]
        assert tuple(numbers) == array.shape(SIZE, TEACHER)
        assert axes == ", ".join(f"`{axis}`" for axis in array.dimension_names)


def _factors(term: str) -> list[str]:
    """Return the factors of `T L`, or `N + 1` as it is."""
    return [term] if "+" in term else term.split()


def test_the_page_has_no_other_arrays() -> None:
    """Catches a row for a signal that was taken away or renamed."""
    arrays = [array for signal in SIGNALS.values() for array in arrays_of(signal)]
    known = {name_in_page(array) for array in arrays}
    assert documented().keys() == known


@each
def test_names_are_read_as_they_are_written(signal: Signal) -> None:
    """Catches an array that two signals claim, or a field that is another array's."""
    for array in arrays_of(signal):
        assert parse_array_name(array.name) == array
        assert _array_name(field_name(array.name)) == array.name
        assert array.name.split("/")[0] in SIGNAL_FOLDERS
        if signal.has_layers:
            assert parse_array_name(Array(signal, 123, array.heads).name).layer == 123
            assert signal.parse(array.name.replace(f"{array.layer:02d}", str(array.layer))) is None


@each
def test_it_is_captured_by_its_settings(signal: Signal) -> None:
    """Catches a signal that no setting asks for, or an encoding it cannot have."""
    assert all(encoding in NUMPY_TYPES for encoding in signal.encodings) and signal.encodings
    if signal.settings is None:
        assert signal.name not in SignalsSettings.model_fields
        assert arrays_of(signal)[0].setting in SignalsSettings.model_fields
        return
    assert arrays_of(signal)[0].setting == signal.name
    field = SignalsSettings.model_fields[signal.name]
    assert (field.default is None) == (signal.captured == "if named")


@each
def test_it_is_taken_from_a_forward(signal: Signal) -> None:
    """Catches what is no (row, side, ...) of its axis and width, or that padding has a part in."""
    if signal.axis == Axis.SEGMENT:
        pytest.skip("is computed from what is stored of a segment")
    is_of_vocabulary = signal.axis.has_targets
    model = make_two_stacks("bart") if is_of_vocabulary else make_model("bert")
    if is_of_vocabulary:
        AtTargets(model)
    if signal == TOKEN_LOGITS:
        model = AutoModelForTokenClassification.from_config(model.config).eval()
    rows = make_rows((4, 9, 6))
    if is_of_vocabulary:
        counts = (3, 5, 2)
        asked = [PiecesAsked(np.full(n, 7), decoder_ids=np.full(n, 9)) for n in counts]
        rows = [
            TokenRow(row.ids % 30 + 5, row.types, one) for row, one in zip(rows, asked, strict=True)
        ]
    teacher = TEACHER.model_copy(
        update={
            "n_layers": model.config.num_hidden_layers,
            "n_heads": model.config.num_attention_heads,
            "hidden_size": model.config.hidden_size,
            "n_labels": model.config.vocab_size if is_of_vocabulary else model.config.num_labels,
        }
    )
    for array in arrays_of(signal):
        array = Array(signal, array.layer, array.heads, min(array.k, 4))
        inputs = Inputs(PAD, has_token_types=not is_of_vocabulary)
        labels = torch.full((10,), 7)
        with torch.no_grad():
            probe = Probe(model, [array])
            found = probe.take(probe(inputs.pad(rows), labels))[array]
            alone = probe.take(probe(inputs.pad(rows[:1]), labels[:3]))
        width, sides = array.width(teacher), array.axis.side_lengths(9, 5)
        if signal.axis == Axis.TARGET and not signal.has_layers:
            assert found.shape == (5 + 3 + 2, *width)
            continue
        shape = (3, *width, *sides) if array.axis.is_pair else (3, *sides, *width)
        assert found.shape == shape
        real = tuple(map(slice, array.axis.side_lengths(4, 3)))
        own = found[(0, slice(None), *real)] if array.axis.is_pair else found[(0, *real)]
        # Sums in another order, over a few layers of numbers of size 1.
        torch.testing.assert_close(own, alone[array][0], rtol=0, atol=1e-5)
