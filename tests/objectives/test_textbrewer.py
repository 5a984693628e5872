"""Our losses against TextBrewer's, where one of its functions has the same formula.

Each test names the factor between the two, which `benchmarks/PEERS.md` lists.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import OBJECTIVES
from tests.objectives.cases import (
    HIDDEN,
    MODELS,
    N_HEADS,
    Case,
    MakeCase,
    loss_of,
    value_of,
)

peer = pytest.importorskip(
    "textbrewer.losses", reason="the extra 'bench', which has TextBrewer, is not installed"
)

PAIRS = ((1, 2), (2, 4))
# Means of a few hundred numbers of size 1 in two orders, each rounded to 24 bits several times.
ROUNDING = 2**-19
EQUAL_LENGTHS = [4] * 6

Loss = Callable[[Case], Tensor]


def ours(name: str, **settings: Any) -> Objective:
    return OBJECTIVES[name].model_validate(settings).build(MODELS)


def over_pairs(loss: Callable[..., Tensor], field: str) -> Loss:
    """Return the mean of a peer's loss over the pairs of layers, without a mask."""

    def mean(case: Case) -> Tensor:
        student = getattr(case.student, field)
        teacher = {
            "attentions": case.teacher_maps,
            "hidden_states": case.teacher_states,
            "cls": case.teacher.cls,
        }[field]
        return torch.stack([loss(student[a], teacher[b]) for a, b in PAIRS]).mean()

    return mean


def over_rows(loss: Loss) -> Loss:
    """Return the mean of a loss over rows, each alone and so without padding."""

    def mean(case: Case) -> Tensor:
        rows = range(len(case.labels))
        return torch.stack([loss(case.part(row, row + 1)) for row in rows]).mean()

    return mean


def check_equal(objective: Objective, theirs: Loss, case: Case, *, factor: float = 1.0) -> None:
    """Check that our loss and its gradient are `factor` times the peer's."""
    loss, other = loss_of(objective, case), factor * theirs(case)
    assert float(other.detach()) > 0.01
    torch.testing.assert_close(loss, other, rtol=ROUNDING, atol=0)
    check_equal_gradients(loss, other, case)


def check_equal_gradients(loss: Tensor, other: Tensor, case: Case) -> None:
    """Check that two losses have the same gradient by the student's tensors."""
    found, expected = (
        torch.autograd.grad(one, case.leaves(), allow_unused=True, materialize_grads=True)
        for one in (loss, other)
    )
    assert max(float(part.abs().max()) for part in expected) > 0.001
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=ROUNDING, atol=2**-22)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_target_is_kd_ce(make_case: MakeCase, temperature: float) -> None:
    """Catches a factor other than T^2, or a difference other than the teacher's entropy."""
    case = make_case()
    assert case.teacher.logits is not None
    loss = loss_of(ours("soft_target", temperature=temperature), case)
    logits = case.student.logits, case.teacher.logits
    cross_entropy = peer.kd_ce_loss(*logits, temperature)
    check_equal_gradients(loss, temperature**2 * cross_entropy, case)
    p = (case.teacher.logits / temperature).softmax(-1)
    entropy = -(p * p.log()).sum(-1).mean()
    found = float(loss.detach()) / temperature**2
    # The cross-entropy is of size 1, whatever is left of it.
    assert found == pytest.approx(float((cross_entropy - entropy).detach()), abs=ROUNDING)


@pytest.mark.parametrize("temperature", [1, 4])
def test_logit_match_is_kd_mse(make_case: MakeCase, temperature: int) -> None:
    """Catches a sum over labels; the peer's temperature is nothing but a factor."""

    def theirs(case: Case) -> Tensor:
        loss: Tensor = peer.kd_mse_loss(case.student.logits, case.teacher.logits, temperature)
        return loss

    check_equal(ours("logit_match"), theirs, make_case(), factor=temperature**2)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_cls_is_pkd(make_case: MakeCase, reduction: str) -> None:
    """Catches another reduction: over pairs, over pairs and numbers."""
    objective = ours("cls", layer_map=PAIRS, reduction=reduction)
    factor = len(PAIRS) if reduction == "sum" else 1 / HIDDEN
    check_equal(objective, over_pairs(peer.pkd_loss, "cls"), make_case(), factor=factor)


OF_TOKENS = [
    ("hidden_states", {"distance": "mse"}, "hid_mse_loss", 1.0),
    ("hidden_states", {"distance": "cosine"}, "cos_loss", 1.0),
    ("attentions", {"distance": "mse"}, "att_mse_loss", 1.0),
    ("attentions", {"distance": "mse", "heads": "mean"}, "att_mse_sum_loss", 1 / N_HEADS**2),
]
each_of_tokens = pytest.mark.parametrize(("name", "settings", "function", "factor"), OF_TOKENS)


def contiguous(function: str) -> Callable[..., Tensor]:
    """Return a function of the peer for parts of a batch, which its own views refuse."""
    loss: Callable[..., Tensor] = getattr(peer, function)
    return lambda *parts: loss(*(part.contiguous() for part in parts))


@each_of_tokens
def test_tokens_of_equally_long_rows(
    make_case: MakeCase, name: str, settings: dict[str, str], function: str, factor: float
) -> None:
    """Catches a factor of heads, tokens or width that the other does not have."""
    objective = ours(name, layer_map=PAIRS, **settings)
    theirs = over_pairs(contiguous(function), name)
    check_equal(objective, theirs, make_case(EQUAL_LENGTHS), factor=factor)


@each_of_tokens
def test_tokens_row_by_row(
    make_case: MakeCase, name: str, settings: dict[str, str], function: str, factor: float
) -> None:
    """Catches padding that counts: ours is the mean over rows of the peer's on each alone."""
    objective = ours(name, layer_map=PAIRS, **settings)
    theirs = over_rows(over_pairs(contiguous(function), name))
    check_equal(objective, theirs, make_case(), factor=factor)


@pytest.mark.parametrize(
    ("name", "function"), [("hidden_states", "hid_mse_loss"), ("attentions", "att_mse_loss")]
)
def test_with_a_mask_the_peer_takes_a_mean_over_all_tokens(
    make_case: MakeCase, name: str, function: str
) -> None:
    """Catches a note on padding that is not true: equal for equal lengths only."""
    objective = ours(name, layer_map=PAIRS, distance="mse")

    def theirs(case: Case) -> Tensor:
        mask, loss = case.student.mask, getattr(peer, function)
        return over_pairs(lambda *parts: loss(*parts, mask=mask), name)(case)

    check_equal(objective, theirs, make_case(EQUAL_LENGTHS))
    case = make_case()
    assert abs(value_of(objective, case) / float(theirs(case).detach()) - 1) > 0.01


def test_attentions_kl_is_att_ce(make_case: MakeCase) -> None:
    """Catches another reduction; the peer takes scores, and keeps the teacher's entropy."""
    case = make_case(EQUAL_LENGTHS)
    scores = {
        k: maps.detach().log().requires_grad_() for k, maps in case.student.attentions.items()
    }
    maps = {k: part.softmax(-1) for k, part in scores.items()}
    case = replace(case, student=replace(case.student, attentions=maps))
    loss = loss_of(ours("attentions", layer_map=PAIRS, distance="kl"), case)
    theirs = case.teacher_maps
    cross_entropy = torch.stack(
        [peer.att_ce_loss(scores[a], theirs[b].log(), mask=case.student.mask) for a, b in PAIRS]
    ).mean()
    entropy = torch.stack([-(theirs[b] * theirs[b].log()).sum(-1).mean() for _, b in PAIRS]).mean()
    assert float(loss.detach()) > 0.1
    # Scores are up to 8 in size, and so is the rounding of logarithms.
    difference = float((cross_entropy - entropy).detach())
    assert float(loss.detach()) == pytest.approx(difference, abs=8 * ROUNDING)
    leaves = list(scores.values())
    found, expected = (torch.autograd.grad(one, leaves) for one in (loss, cross_entropy))
    for one, two in zip(found, expected, strict=True):
        assert one.abs().max() > 0.001
        torch.testing.assert_close(one, two, rtol=8 * ROUNDING, atol=2**-22)


def test_similarity_is_mmd_over_the_rows_of_a_batch(make_case: MakeCase) -> None:
    """Catches a kernel that is divided by something else than the width."""

    def mmd(student: Tensor, teacher: Tensor) -> Tensor:
        loss: Tensor = peer.mmd_loss([student[None]] * 2, [teacher[None]] * 2)
        return loss

    objective = ours("similarity", layer_map=PAIRS, kernel="linear", comparison="mse")
    check_equal(objective, over_pairs(mmd, "cls"), make_case())
