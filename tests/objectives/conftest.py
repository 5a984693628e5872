"""Random outputs of a student and a teacher, and what every objective must hold of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from tests.compared import make_models

LENGTHS = (5, 2, 7, 2, 4, 3)
N_LABELS, N_HEADS, HIDDEN = 3, 2, 6
MODELS = make_models(2, 4, hidden_size=HIDDEN, n_heads=N_HEADS)


@dataclass(frozen=True)
class Case:
    """One batch of both models."""

    student: StudentOutputs
    teacher: TeacherSignals
    labels: Tensor
    teacher_maps: Mapping[int, Tensor]
    """The teacher's attention maps as padded as the student's, for loops over tokens."""

    @property
    def lengths(self) -> list[int]:
        """Real tokens of each row."""
        return [int(n) for n in self.student.mask.sum(1)]

    def leaves(self) -> list[Tensor]:
        """Return the student's tensors, by which gradients are taken."""
        student = self.student
        return [student.logits, *student.cls.values(), *student.attentions.values()]

    def part(self, first: int, stop: int) -> "Case":
        """Return some of the rows as a batch of their own, no longer than it must be."""
        lengths = self.lengths[first:stop]
        rows, to = slice(first, stop), slice(max(lengths))
        teacher_maps = {k: maps[rows, :, to, to] for k, maps in self.teacher_maps.items()}
        assert self.teacher.logits is not None
        return Case(
            student=StudentOutputs(
                logits=self.student.logits[rows],
                mask=self.student.mask[rows, to],
                cls={k: states[rows] for k, states in self.student.cls.items()},
                attentions={
                    k: maps[rows, :, to, to] for k, maps in self.student.attentions.items()
                },
            ),
            teacher=TeacherSignals(
                logits=self.teacher.logits[rows],
                cls={k: states[rows] for k, states in self.teacher.cls.items()},
                attentions={k: flatten(maps, lengths) for k, maps in teacher_maps.items()},
            ),
            labels=self.labels[rows],
            teacher_maps=teacher_maps,
        )

    def padded(self, n_columns: int) -> "Case":
        """Return the batch with more padding, and no number at any padded position."""
        longest = self.student.mask.shape[1] + n_columns
        mask = torch.zeros(len(self.labels), longest, dtype=torch.bool)
        attentions = {}
        for layer, maps in self.student.attentions.items():
            wider = torch.full((*maps.shape[:2], longest, longest), torch.nan)
            for row, n in enumerate(self.lengths):
                mask[row, :n] = True
                wider[row, :, :n, :n] = maps[row, :, :n, :n].detach()
            attentions[layer] = wider.requires_grad_()
        student = StudentOutputs(
            logits=self.student.logits.detach().clone().requires_grad_(),
            mask=mask,
            cls={k: part.detach().clone().requires_grad_() for k, part in self.student.cls.items()},
            attentions=attentions,
        )
        return Case(student, self.teacher, self.labels, self.teacher_maps)


MakeCase = Callable[..., Case]


@pytest.fixture
def make_case() -> MakeCase:
    """Return a function that draws a case: 6 rows of 2 to 7 tokens, layers as in MODELS.

    With `is_equal` the teacher's layer k holds what the student's layer k does.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def draw_maps(lengths: Sequence[int]) -> Tensor:
        longest = max(lengths)
        maps = 5 * draw(len(lengths), N_HEADS, longest, longest)  # padding means nothing
        for row, n in enumerate(lengths):
            maps[row, :, :n, :n] = (2 * draw(N_HEADS, n, n)).softmax(-1)
        return maps

    def make(lengths: Sequence[int] = LENGTHS, *, is_equal: bool = False) -> Case:
        n_rows = len(lengths)
        logits = 2 * draw(n_rows, N_LABELS)
        cls = {k: draw(n_rows, HIDDEN) for k in range(MODELS.student.n_layers + 1)}
        maps = {k: draw_maps(lengths) for k in range(1, MODELS.student.n_layers + 1)}
        if is_equal:
            their_logits, their_cls, their_maps = logits.clone(), dict(cls), dict(maps)
        else:
            their_logits = 2 * draw(n_rows, N_LABELS)
            their_cls = {k: draw(n_rows, HIDDEN) for k in range(MODELS.teacher.n_layers + 1)}
            their_maps = {k: draw_maps(lengths) for k in range(1, MODELS.teacher.n_layers + 1)}
        return Case(
            student=StudentOutputs(
                logits=logits.requires_grad_(),
                mask=torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
                cls={k: part.clone().requires_grad_() for k, part in cls.items()},
                attentions={k: part.clone().requires_grad_() for k, part in maps.items()},
            ),
            teacher=TeacherSignals(
                logits=their_logits.detach(),
                cls=their_cls,
                attentions={k: flatten(part, lengths) for k, part in their_maps.items()},
            ),
            labels=torch.tensor([0, 2, 1, 1, 0, 2])[torch.arange(n_rows) % 6],
            teacher_maps=their_maps,
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


def loss_of(objective: Objective, case: Case) -> Tensor:
    """Return the objective's loss on a case."""
    loss = objective(case.student, case.teacher, case.labels)
    assert loss.shape == () and loss.dtype == torch.float32
    return loss


def value_of(objective: Objective, case: Case) -> float:
    """Return the objective's loss on a case as a number."""
    return float(loss_of(objective, case).detach())


def gradients(objective: Objective, case: Case) -> list[Tensor]:
    """Return the gradients by the student's tensors, zero where one is not used."""
    leaves = case.leaves()
    return list(
        torch.autograd.grad(
            loss_of(objective, case), leaves, allow_unused=True, materialize_grads=True
        )
    )


def check_ignores_padding(objective: Objective, case: Case) -> None:
    """Check that loss and gradient are bitwise those with more and other padding."""
    padded = case.padded(n_columns=3)
    assert torch.equal(loss_of(objective, padded), loss_of(objective, case))
    before, after = gradients(objective, case), gradients(objective, padded)
    assert any(gradient.any() for gradient in before)
    for old, new in zip(before, after, strict=True):
        if old.ndim < 4:
            assert torch.equal(old, new)
            continue
        for row, n in enumerate(case.lengths):
            assert torch.equal(old[row, :, :n, :n], new[row, :, :n, :n])
            for gradient in (old[row].clone(), new[row].clone()):
                gradient[:, :n, :n] = 0
                assert not gradient.any()


def check_micro_batches(objective: Objective, case: Case, n_parts: int) -> None:
    """Check that the mean gradient of equal parts is the gradient of the whole batch."""
    size = len(case.labels) // n_parts
    assert size * n_parts == len(case.labels)
    whole = gradients(objective, case)
    assert any(gradient.any() for gradient in whole)
    loss = sum(loss_of(objective, case.part(k * size, (k + 1) * size)) for k in range(n_parts))
    parts = torch.autograd.grad(
        loss / n_parts, case.leaves(), allow_unused=True, materialize_grads=True
    )
    for expected, found in zip(whole, parts, strict=True):
        # The same few products in another order, each rounded to float32 (6e-8).
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
