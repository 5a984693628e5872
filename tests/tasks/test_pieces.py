"""The classes in which a vocabulary's predictions are compared."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from pipeline.tasks.pieces import LEAST_REST, in_classes, teacher_classes


def draw(n_pieces: int = 50, scale: float = 3.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return float64 logits of a student and a teacher, (target, piece)."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(2, 7, n_pieces, generator=generator).double()
    return student, teacher


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = student.log_softmax(-1), teacher.log_softmax(-1)
    return kl_div(ours, theirs, reduction="none", log_target=True).sum(1)


@pytest.mark.parametrize("k", [1, 4, 49])
def test_classes_have_the_probabilities_of_their_pieces(k: int) -> None:
    """Catches a rest that is not what the other pieces have together, for either model."""
    student, teacher = draw()
    values, pieces = teacher.topk(k)
    theirs = teacher_classes(values, teacher.logsumexp(1)).softmax(1)
    ours = in_classes(student, pieces).softmax(1)
    for found, logits in ((theirs, teacher), (ours, student)):
        whole = logits.softmax(1)
        kept = whole.gather(1, pieces)
        torch.testing.assert_close(found[:, :-1], kept)
        torch.testing.assert_close(found[:, -1], 1 - kept.sum(1), rtol=1e-9, atol=1e-12)


def test_the_divergence_is_a_lower_bound_that_tightens() -> None:
    """Catches a divergence that is no part of the whole one."""
    student, teacher = draw()
    bounds = []
    for k in (1, 8, 32):
        values, pieces = teacher.topk(k)
        classes = teacher_classes(values, teacher.logsumexp(1))
        bounds.append(kl(in_classes(student, pieces), classes))
    assert (bounds[0] <= bounds[1]).all() and (bounds[1] <= bounds[2]).all()
    assert (bounds[2] < kl(student, teacher)).all()


def test_all_pieces_but_one_give_the_whole_divergence() -> None:
    """Catches anything lost or counted twice where the rest is a single piece."""
    student, teacher = draw()
    values, pieces = teacher.topk(49)
    bound = kl(in_classes(student, pieces), teacher_classes(values, teacher.logsumexp(1)))
    torch.testing.assert_close(bound, kl(student, teacher))


def test_a_teacher_that_is_sure_leaves_a_little_to_the_rest() -> None:
    """Catches the logarithm of zero, or of less, where stored logits were rounded."""
    values = torch.tensor([[9.0, -3.0]])
    classes = teacher_classes(values, values.logsumexp(1) - 1e-3)
    assert torch.isfinite(classes).all()
    least = LEAST_REST * torch.finfo(torch.float32).eps
    assert float(classes.softmax(1)[0, -1]) == pytest.approx(least, rel=1e-2)


def test_gradients_reach_every_piece() -> None:
    """Catches a rest that is detached, so that nothing pushes the other pieces down."""
    student, teacher = draw()
    _, pieces = teacher.topk(4)
    logits = student.clone().requires_grad_()
    in_classes(logits, pieces).log_softmax(1)[:, 0].sum().backward()
    assert logits.grad is not None
    # d log p / dz = 1[piece] - p, for the whole vocabulary.
    wanted = -student.softmax(1)
    wanted[torch.arange(7), pieces[:, 0]] += 1
    torch.testing.assert_close(logits.grad, wanted)
