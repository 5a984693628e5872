"""What every objective of the table must hold; each is compared with its formula elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.objectives.objective import LossInputs, Objective, StudentOutputs, TeacherSignals
from pipeline.objectives.settings import OBJECTIVES
from pipeline.signals import SIGNALS
from pipeline.signals.attentions import POOLING
from pipeline.signals.axis import Axis
from pipeline.signals.logits import LOGITS
from pipeline.signals.models import ENCODER_DECODER_SIGNALS, Models
from pipeline.signals.signal import Array
from tests.compared import make_models
from tests.objectives.cases import counts_of

N_TOKENS, N_TARGETS = (5, 2, 7, 3, 4, 3), (3, 6, 1, 2, 4, 2)
N_LABELS, N_HEADS, HIDDEN = 3, 2, 6
PLAIN = make_models(2, 2, hidden_size=HIDDEN, n_heads=N_HEADS)
DECODER = replace(
    PLAIN,
    student=replace(PLAIN.student, gives=ENCODER_DECODER_SIGNALS, n_decoder_layers=2),
    teacher=PLAIN.teacher.model_copy(update={"head_reads": None, "n_decoder_layers": 2}),
)
POOLED = replace(PLAIN, student=replace(PLAIN.student, n_layers=1, gives=frozenset({POOLING})))

CASES: dict[str, tuple[str, dict[str, Any], Models]] = {
    "hard_label": ("hard_label", {}, PLAIN),
    "soft_target": ("soft_target", {"temperature": 2.0}, PLAIN),
    "soft_target reverse": ("soft_target", {"direction": "reverse"}, PLAIN),
    "soft_target js": ("soft_target", {"direction": "jensen_shannon"}, PLAIN),
    "soft_target l1": ("soft_target", {"distance": "l1"}, PLAIN),
    "soft_target l2": ("soft_target", {"distance": "l2"}, PLAIN),
    "logit_match": ("logit_match", {}, PLAIN),
    "cls": ("cls", {"layer_map": "uniform"}, PLAIN),
    "cls mean": ("cls", {"layer_map": "uniform", "reduction": "mean"}, PLAIN),
    "cls standardise": ("cls", {"layer_map": "uniform", "normalise": "standardise"}, PLAIN),
    "cls none": ("cls", {"layer_map": "uniform", "normalise": "none"}, PLAIN),
    "cls projected": ("cls", {"layer_map": "uniform", "projection": True}, PLAIN),
    "cls learned": ("cls", {"layer_map": "learned"}, PLAIN),
    "hidden_states": ("hidden_states", {}, PLAIN),
    "hidden_states cosine": ("hidden_states", {"distance": "cosine"}, PLAIN),
    "hidden_states projected": ("hidden_states", {"projection": True}, PLAIN),
    "attentions": ("attentions", {}, PLAIN),
    "attentions kl": ("attentions", {"distance": "kl"}, PLAIN),
    "attentions mean": ("attentions", {"heads": "mean"}, PLAIN),
    "attentions mean kl": ("attentions", {"heads": "mean", "distance": "kl"}, PLAIN),
    "attentions pooled": ("attentions", {"layer_map": ((1, 2),)}, POOLED),
    "decoder_hidden_states": ("decoder_hidden_states", {}, DECODER),
    "decoder_attentions": ("decoder_attentions", {"distance": "kl"}, DECODER),
    "cross_attentions": ("cross_attentions", {}, DECODER),
    "similarity": ("similarity", {}, PLAIN),
    "similarity rbf": ("similarity", {"kernel": "rbf", "comparison": "mse"}, PLAIN),
    "adversarial": ("adversarial", {"layer_map": "uniform"}, PLAIN),
    "adversarial projected": (
        "adversarial",
        {"layer_map": "uniform", "projection": True},
        PLAIN,
    ),
}
NOT_ZERO_AT_EQUALITY = (
    "hard_label",
    "adversarial",
    "attentions pooled",
    "learned",
    "projected",
)
"""Parts of the names of cases whose minimum is elsewhere."""
each = pytest.mark.parametrize("case", CASES)


def test_every_objective_has_a_case() -> None:
    """Catches an objective that is in the table and not tested here."""
    assert {name for name, _, _ in CASES.values()} == set(OBJECTIVES)


def build(case: str) -> Objective:
    """Return an objective; its own weights, if any, are always the same."""
    name, settings, models = CASES[case]
    torch.manual_seed(0)
    return OBJECTIVES[name].model_validate(settings).build(models)


def lengths_of(rows: slice) -> dict[str, Tensor]:
    """Return how many tokens and targets some rows have."""
    return {"token": torch.tensor(N_TOKENS[rows]), "target": torch.tensor(N_TARGETS[rows])}


class Batch:
    """Random signals of both models for six rows, by array: those that a case needs."""

    def __init__(self, case: str, *, is_equal: bool = False) -> None:
        name, settings, models = CASES[case]
        self.needs = OBJECTIVES[name].model_validate(settings).needs(models)
        self.models = models
        self._generator = torch.Generator().manual_seed(3)
        self.logits = 2 * self._draw(6, N_LABELS)
        self.labels = torch.tensor([0, -1, 2, 1, -1, 0])
        self.theirs = self.logits.clone() if is_equal else 2 * self._draw(6, N_LABELS)
        self.student = {array: self._padded(array) for array in sorted(self.needs.student)}
        self.teacher: dict[Array, Tensor] = {}
        """Padded where a signal is ragged, [CLS] of every layer in one."""
        for array in sorted(self.needs.teacher - {Array(LOGITS)}):
            own = Array(array.signal, array.layer)
            if is_equal and array.signal.axis == Axis.ROW and array.layer < 0:
                layers = [self.student.get(Array(array.signal, k)) for k in range(3)]
                empty = torch.zeros(6, HIDDEN)
                states = [empty if state is None else state for state in layers]
                self.teacher[array] = torch.stack(states, 1)
            elif is_equal and own in self.student:
                self.teacher[array] = self.student[own]
            else:
                self.teacher[array] = self._padded(array)

    def _draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def _padded(self, array: Array) -> Tensor:
        """Return random values; padding is no number. Maps are probabilities."""
        axis = array.signal.axis
        width = () if array.signal == POOLING else array.width(self.models.teacher)
        if axis == Axis.SEGMENT:
            return self._draw(*width).exp()
        if axis == Axis.ROW:
            return self._draw(6, *(width if array.layer < 0 else (HIDDEN,)))
        lengths = lengths_of(slice(None))
        sides = [int(lengths[side].max()) for side in axis.sides]
        shape = (*width, *sides) if axis.is_pair else (*sides, *width)
        values = torch.full((6, *shape), torch.nan)
        for row in range(6):
            own = [int(lengths[side][row]) for side in axis.sides]
            place = (*map(slice, width), *map(slice, own)) if axis.is_pair else (slice(own[0]),)
            part = self._draw(*values[(row, *place)].shape)
            is_distribution = axis.is_pair or array.signal == POOLING
            values[(row, *place)] = part.softmax(-1) if is_distribution else part
        return values

    def inputs(self, rows: slice = slice(6), *, n_more: int = 0) -> tuple[LossInputs, list[Tensor]]:
        """Return what objectives are given of some rows, and the leaves of its gradients.

        Padding is as long as the longest of the rows needs, and `n_more`.
        """
        lengths = lengths_of(rows)
        masks: Any = {
            side: torch.arange(int(n.max()) + n_more) < n[:, None] for side, n in lengths.items()
        }
        student: dict[Array, Tensor] = {}
        for array, values in self.student.items():
            widened = values[rows]
            first = 2 if array.signal.axis.is_pair else 1
            for axis, side in enumerate(array.signal.axis.sides, first):
                n = masks[side].shape[1]
                wide = torch.full((*widened.shape[:axis], n, *widened.shape[axis + 1 :]), torch.nan)
                n_kept = min(n, widened.shape[axis])
                wide.narrow(axis, 0, n_kept).copy_(widened.narrow(axis, 0, n_kept))
                widened = wide
            student[array] = widened.clone().requires_grad_()
        logits = self.logits[rows].clone().requires_grad_()
        teacher = TeacherSignals(self.theirs[rows], signals=self._stored(rows))
        outputs = StudentOutputs(logits, masks, student)
        counts = counts_of(self.labels, 6)
        leaves = [logits, *student.values()]
        return LossInputs(outputs, teacher, self.labels[rows], counts), leaves

    def _stored(self, rows: slice) -> Mapping[Array, Tensor]:
        """Return the teacher's signals as a store has them: row after row, without padding."""
        stored: dict[Array, Tensor] = {}
        lengths = lengths_of(slice(None))
        for array, values in self.teacher.items():
            axis = array.signal.axis
            if axis == Axis.SEGMENT:
                stored[array] = values
            elif axis == Axis.ROW:
                states = enumerate(values[rows].unbind(1))
                stored |= {Array(array.signal, layer): state for layer, state in states}
            else:
                parts = []
                for row in range(6)[rows]:
                    own = [slice(int(lengths[side][row])) for side in axis.sides]
                    real = values[(row, slice(None), *own)] if axis.is_pair else values[(row, *own)]
                    parts.append(real.flatten() if axis.is_pair else real)
                stored[array] = torch.cat(parts)
        return stored


def gradients(objective: Objective, given: list[tuple[LossInputs, list[Tensor]]]) -> list[Tensor]:
    """Return the gradients of a sum of losses by each batch's leaves, then by own weights."""
    total = sum((objective(inputs) for inputs, _ in given), torch.zeros(()))
    leaves = [leaf for _, leaves in given for leaf in leaves] + list(objective.parameters())
    return list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))


@each
def test_is_zero_at_equality(case: str) -> None:
    """Catches other rows, layers, heads or tokens compared, and a minimum off the teacher."""
    loss = build(case)(Batch(case).inputs()[0])
    assert loss.shape == () and loss.dtype == torch.float32 and float(loss.detach()) > 1e-3
    if not any(part in case for part in NOT_ZERO_AT_EQUALITY):
        equal = float(build(case)(Batch(case, is_equal=True).inputs()[0]).detach())
        # Sums of some dozen numbers of size 1, rounded to 24 bits.
        assert abs(equal) < 2**-18


@each
def test_ignores_padding(case: str) -> None:
    """Catches padding that is compared, counted, or multiplied by a mask (NaN stays NaN)."""
    batch = Batch(case)
    narrow, wide = batch.inputs(), batch.inputs(n_more=3)
    assert torch.equal(build(case)(narrow[0]), build(case)(wide[0]))
    one, other = (gradients(build(case), [given]) for given in (narrow, wide))
    assert any(gradient.any() for gradient in one)
    n_leaves = len(narrow[1])
    for old, new, old_leaf, new_leaf in zip(one, other, narrow[1], wide[1], strict=False):
        assert torch.equal(old[~old_leaf.isnan()], new[~new_leaf.isnan()])
        assert not new[new_leaf.isnan()].any()
    for old, new in zip(one[n_leaves:], other[n_leaves:], strict=True):
        assert torch.equal(old, new)


@each
@pytest.mark.parametrize("ends", [(3, 6), (1, 2, 6), (1, 2, 3, 4, 5, 6)])
def test_parts_of_a_batch_add_up(case: str, ends: tuple[int, ...]) -> None:
    """Catches a mean over a part's own targets: uneven parts, and labels in some alone."""
    name = CASES[case][0]
    if OBJECTIVES[name].compares_rows:
        pytest.skip("its batches are never cut")
    batch = Batch(case)
    rows = [slice(first, end) for first, end in zip((0, *ends), ends, strict=False)]
    whole, parts = batch.inputs(), [batch.inputs(part) for part in rows]
    total = sum(float(build(case)(inputs).detach()) for inputs, _ in parts)
    # The same few products in another order, each rounded to float32 (6e-8).
    assert total == pytest.approx(float(build(case)(whole[0]).detach()), rel=2e-6)
    by_batch, by_parts = gradients(build(case), [whole]), gradients(build(case), parts)
    n_leaves = len(whole[1])
    for number, expected in enumerate(by_batch[:n_leaves]):
        leaf = whole[1][number]
        for part, given in enumerate(parts):
            found, own = by_parts[part * n_leaves + number], given[1][number]
            wanted = expected[rows[part]][~leaf[rows[part]].isnan()]
            torch.testing.assert_close(found[~own.isnan()], wanted, rtol=2e-6, atol=1e-7)
    for found, expected in zip(by_parts[len(parts) * n_leaves :], by_batch[n_leaves:], strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-7)


@each
def test_reads_what_it_needs_and_no_more(case: str) -> None:
    """Catches an array that is read from the disk in vain, or missing at the first step."""
    inputs, leaves = Batch(case).inputs()
    by_student = gradients(build(case), [(inputs, leaves)])[: len(leaves)]
    assert all(gradient.any() for gradient in by_student[1:])
    assert by_student[0].any() or inputs.student.signals
    for array in inputs.teacher.signals:
        without = {k: v for k, v in inputs.teacher.signals.items() if k != array}
        is_paired = not (array.signal.axis == Axis.ROW and array.layer == 0)
        if is_paired:
            with pytest.raises(KeyError):
                build(case)(replace(inputs, teacher=replace(inputs.teacher, signals=without)))
    assert set(SIGNALS.values()) >= {array.signal for array in Batch(case).needs.teacher}
