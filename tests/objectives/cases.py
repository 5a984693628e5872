"""Random batches of a student and a teacher, and what every objective must hold of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pipeline.objectives.objective import (
    BatchCounts,
    LossInputs,
    Objective,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.signals.attentions import ATTENTIONS, POOLING
from pipeline.signals.cls import CLS, MOMENTS
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.signal import Array
from tests.compared import make_models

LENGTHS = (5, 2, 7, 2, 4, 3)
N_LABELS, N_HEADS, HIDDEN, NARROW_HIDDEN = 3, 2, 6, 4
MODELS = make_models(2, 4, hidden_size=HIDDEN, n_heads=N_HEADS)
NARROW_MODELS = replace(MODELS, student=replace(MODELS.student, hidden_size=NARROW_HIDDEN))
OTHER_STORES = ("stores/second", "stores/third")


@dataclass(frozen=True)
class Student:
    """What a student computed, each by layer, padded."""

    logits: Tensor
    mask: Tensor
    cls: Mapping[int, Tensor] = field(default_factory=dict)
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)
    attentions: Mapping[int, Tensor] = field(default_factory=dict)
    pooling: Tensor | None = None

    def outputs(self) -> StudentOutputs:
        """Return what objectives are given of it."""
        signals = {
            **{Array(CLS, k): states for k, states in self.cls.items()},
            **{Array(HIDDEN_STATES, k): states for k, states in self.hidden_states.items()},
            **{Array(ATTENTIONS, k): maps for k, maps in self.attentions.items()},
        }
        if self.pooling is not None:
            signals[Array(POOLING)] = self.pooling
        return StudentOutputs(self.logits, {"token": self.mask}, signals)


@dataclass(frozen=True)
class Teacher:
    """What a store has of its teacher, each by layer, flat."""

    logits: Tensor | None = None
    other_logits: Mapping[str, Tensor] = field(default_factory=dict)
    cls: Mapping[int, Tensor] = field(default_factory=dict)
    cls_deviations: Mapping[int, Tensor] = field(default_factory=dict)
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)
    attentions: Mapping[int, Tensor] = field(default_factory=dict)
    mean_attentions: Mapping[int, Tensor] = field(default_factory=dict)

    def signals(self) -> TeacherSignals:
        """Return what objectives are given of it."""
        signals = {
            **{Array(CLS, k): states for k, states in self.cls.items()},
            **{Array(HIDDEN_STATES, k): states for k, states in self.hidden_states.items()},
            **{Array(ATTENTIONS, k): maps for k, maps in self.attentions.items()},
            **{Array(ATTENTIONS, k, "mean"): maps for k, maps in self.mean_attentions.items()},
        }
        if self.cls_deviations:
            deviations = torch.stack([self.cls_deviations[k] for k in sorted(self.cls_deviations)])
            signals[MOMENTS] = torch.stack([torch.full_like(deviations, torch.nan), deviations])
        return TeacherSignals(self.logits, other_logits=self.other_logits, signals=signals)


def counts_of(labels: Tensor, n_rows: int) -> BatchCounts:
    """Return the counts of a batch with these labels."""
    is_known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
    return BatchCounts(n_rows, len(labels), int(is_known.sum()))


@dataclass(frozen=True)
class Case:
    """One batch of both models."""

    student: Student
    teacher: Teacher
    labels: Tensor
    teacher_maps: Mapping[int, Tensor]
    """The teacher's attention maps as padded as the student's, for loops over tokens."""
    teacher_states: Mapping[int, Tensor]
    """The teacher's hidden states, likewise."""

    def inputs(self, progress: float = 0.0, whole: "Case | None" = None) -> LossInputs:
        """Return what objectives are given; `whole` is the batch that this is a part of."""
        batch = whole or self
        counts = counts_of(batch.labels, len(batch.student.mask))
        student, teacher = self.student.outputs(), self.teacher.signals()
        return LossInputs(student, teacher, self.labels, counts, progress)

    @property
    def lengths(self) -> list[int]:
        """Real tokens of each row."""
        return [int(n) for n in self.student.mask.sum(1)]

    def leaves(self) -> list[Tensor]:
        """Return the student's tensors, by which gradients are taken."""
        student = self.student
        assert student.pooling is not None
        states, maps = student.hidden_states.values(), student.attentions.values()
        return [student.logits, *student.cls.values(), *states, *maps, student.pooling]

    def part(self, first: int, stop: int) -> "Case":
        """Return some of the rows as a batch of their own, no longer than it must be."""
        lengths = self.lengths[first:stop]
        rows, to = slice(first, stop), slice(max(lengths))
        student, teacher = self.student, self.teacher
        assert teacher.logits is not None and student.pooling is not None
        their_maps = {k: maps[rows, :, to, to] for k, maps in self.teacher_maps.items()}
        their_states = {k: states[rows, to] for k, states in self.teacher_states.items()}
        return Case(
            student=Student(
                logits=student.logits[rows],
                mask=student.mask[rows, to],
                cls={k: states[rows] for k, states in student.cls.items()},
                hidden_states={k: states[rows, to] for k, states in student.hidden_states.items()},
                attentions={k: maps[rows, :, to, to] for k, maps in student.attentions.items()},
                pooling=student.pooling[rows, to],
            ),
            teacher=Teacher(
                logits=teacher.logits[rows],
                other_logits={k: logits[rows] for k, logits in teacher.other_logits.items()},
                cls={k: states[rows] for k, states in teacher.cls.items()},
                cls_deviations=teacher.cls_deviations,
                hidden_states={k: flatten_states(v, lengths) for k, v in their_states.items()},
                attentions={k: flatten(maps, lengths) for k, maps in their_maps.items()},
                mean_attentions={
                    k: flatten(their_maps[k].mean(1, keepdim=True), lengths)
                    for k in teacher.mean_attentions
                },
            ),
            labels=self.labels[rows],
            teacher_maps=their_maps,
            teacher_states=their_states,
        )

    def padded(self, n_columns: int) -> "Case":
        """Return the batch with more padding, and no number at any padded position."""
        n_rows, before = self.student.mask.shape
        longest = before + n_columns
        mask = torch.arange(longest) < torch.tensor(self.lengths)[:, None]

        def leaf(part: Tensor) -> Tensor:
            return part.detach().clone().requires_grad_()

        def widen(part: Tensor, *shape: int, axes: int) -> Tensor:
            """Copy the real tokens of `part`, whose last or next axes are tokens, to NaN."""
            wider = torch.full(shape, torch.nan)
            for row, n in enumerate(self.lengths):
                real = (row, slice(n)) if axes == 1 else (row, slice(None), slice(n), slice(n))
                wider[real] = part[real].detach()
            return wider.requires_grad_()

        student = self.student
        assert student.pooling is not None
        return replace(
            self,
            student=Student(
                logits=leaf(student.logits),
                mask=mask,
                cls={k: leaf(states) for k, states in student.cls.items()},
                hidden_states={
                    k: widen(states, n_rows, longest, states.shape[2], axes=1)
                    for k, states in student.hidden_states.items()
                },
                attentions={
                    k: widen(maps, n_rows, maps.shape[1], longest, longest, axes=2)
                    for k, maps in student.attentions.items()
                },
                pooling=widen(student.pooling, n_rows, longest, axes=1),
            ),
        )


MakeCase = Callable[..., Case]


def case_maker() -> MakeCase:
    """Return a function that draws a case: 6 rows of 2 to 7 tokens, layers as in MODELS.

    With `is_equal` the teacher's layer k holds what the student's layer k does.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def draw_maps(lengths: Sequence[int], n_heads: int) -> Tensor:
        longest = max(lengths)
        maps = 5 * draw(len(lengths), n_heads, longest, longest)  # padding means nothing
        for row, n in enumerate(lengths):
            maps[row, :, :n, :n] = (2 * draw(n_heads, n, n)).softmax(-1)
        return maps

    def draw_pooling(lengths: Sequence[int]) -> Tensor:
        weights = torch.zeros(len(lengths), max(lengths))
        for row, n in enumerate(lengths):
            weights[row, :n] = (2 * draw(n)).softmax(-1)
        return weights

    def make(
        lengths: Sequence[int] = LENGTHS,
        *,
        is_equal: bool = False,
        student_hidden: int = HIDDEN,
        student_heads: int = N_HEADS,
    ) -> Case:
        n_rows, longest = len(lengths), max(lengths)
        ours, theirs = range(MODELS.student.n_layers + 1), range(MODELS.teacher.n_layers + 1)
        logits = 2 * draw(n_rows, N_LABELS)
        cls = {k: draw(n_rows, student_hidden) for k in ours}
        maps = {k: draw_maps(lengths, student_heads) for k in ours[1:]}
        states = {k: draw(n_rows, longest, student_hidden) for k in ours}
        pooling = draw_pooling(lengths)
        if is_equal:
            their_logits, their_cls, their_maps, their_states = logits.clone(), cls, maps, states
            others = dict.fromkeys(OTHER_STORES, their_logits)
        else:
            their_logits = 2 * draw(n_rows, N_LABELS)
            their_cls = {k: draw(n_rows, HIDDEN) for k in theirs}
            their_maps = {k: draw_maps(lengths, N_HEADS) for k in theirs[1:]}
            their_states = {k: draw(n_rows, longest, HIDDEN) for k in theirs}
            others = {store: 2 * draw(n_rows, N_LABELS) for store in OTHER_STORES}
        return Case(
            student=Student(
                logits=logits.requires_grad_(),
                mask=torch.arange(longest) < torch.tensor(lengths)[:, None],
                cls={k: part.clone().requires_grad_() for k, part in cls.items()},
                hidden_states={k: part.clone().requires_grad_() for k, part in states.items()},
                attentions={k: part.clone().requires_grad_() for k, part in maps.items()},
                pooling=pooling.requires_grad_(),
            ),
            teacher=Teacher(
                logits=their_logits.detach(),
                other_logits=others,
                cls=their_cls,
                cls_deviations={k: draw(HIDDEN).exp() for k in theirs},
                hidden_states={k: flatten_states(v, lengths) for k, v in their_states.items()},
                attentions={k: flatten(part, lengths) for k, part in their_maps.items()},
            ),
            labels=torch.tensor([0, 2, 1, 1, 0, 2])[torch.arange(n_rows) % 6],
            teacher_maps=their_maps,
            teacher_states=their_states,
        )

    return make


def flatten(maps: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return padded maps as the store has them: row, head, query, key, real tokens only."""
    values = maps.tolist()
    return torch.tensor(
        [
            values[row][head][query][key]
            for row, n in enumerate(lengths)
            for head in range(maps.shape[1])
            for query in range(n)
            for key in range(n)
        ]
    )


def flatten_states(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return padded states as the store has them: (token, hidden), real tokens only."""
    values = states.tolist()
    return torch.tensor([values[row][token] for row, n in enumerate(lengths) for token in range(n)])


def loss_of(
    objective: Objective, case: Case, *, progress: float = 0.0, whole: Case | None = None
) -> Tensor:
    """Return the objective's loss on a case, or on a part of the `whole` batch."""
    loss: Tensor = objective(case.inputs(progress, whole))
    assert loss.shape == () and loss.dtype == torch.float32
    return loss


def value_of(objective: Objective, case: Case) -> float:
    """Return the objective's loss on a case as a number."""
    return float(loss_of(objective, case).detach())


def gradients(objective: Objective, case: Case) -> list[Tensor]:
    """Return the gradients by the student's tensors and the objective's own weights.

    They are zero where one is not used.
    """
    leaves = [*case.leaves(), *objective.parameters()]
    return list(
        torch.autograd.grad(
            loss_of(objective, case), leaves, allow_unused=True, materialize_grads=True
        )
    )


def check_ignores_padding(objective: Objective, case: Case) -> None:
    """Check that loss and gradient are bitwise those with more and other padding."""
    narrow, wide = case.padded(n_columns=0), case.padded(n_columns=3)
    assert torch.equal(loss_of(objective, wide), loss_of(objective, case))
    before, after = gradients(objective, case), gradients(objective, wide)
    assert any(gradient.any() for gradient in before)
    own = list(objective.parameters())
    leaves = zip([*narrow.leaves(), *own], [*wide.leaves(), *own], strict=True)
    for old, new, (narrow_leaf, wide_leaf) in zip(before, after, leaves, strict=True):
        old_padding, new_padding = narrow_leaf.isnan(), wide_leaf.isnan()
        assert torch.equal(old[~old_padding], new[~new_padding])
        assert not old[old_padding].any() and not new[new_padding].any()


def check_micro_batches(objective: Objective, case: Case, n_parts: int) -> None:
    """Check that the gradients of the parts of a batch add up to its own."""
    size = len(case.labels) // n_parts
    assert size * n_parts == len(case.labels)
    whole = gradients(objective, case)
    assert any(gradient.any() for gradient in whole)
    cases = [case.part(k * size, (k + 1) * size) for k in range(n_parts)]
    loss = sum((loss_of(objective, part, whole=case) for part in cases), torch.zeros(()))
    leaves = [*case.leaves(), *objective.parameters()]
    parts = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    for expected, found in zip(whole, parts, strict=True):
        # The same few products in another order, each rounded to float32 (6e-8).
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
