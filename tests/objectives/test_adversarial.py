"""Adversarial transfer: its value, the sign of both gradients, and what it conditions on."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.adversarial import Adversarial
from pipeline.objectives.needs import Needs
from pipeline.objectives.settings import AdversarialSettings
from pipeline.signals.cls import CLS, CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.models import Models
from pipeline.signals.signal import Array
from tests.compared import make_models
from tests.objectives.cases import (
    HIDDEN,
    MODELS,
    N_LABELS,
    NARROW_HIDDEN,
    NARROW_MODELS,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    gradients,
    loss_of,
    value_of,
)

PAIRS = ((1, 2), (2, 4))
LOG_2 = math.log(2)


def adversarial(models: Models = MODELS, *, projection: bool = False) -> Adversarial:
    """Return the loss with larger weights than torch's, for gradients far from zero."""
    torch.manual_seed(0)
    settings = AdversarialSettings(layer_map=PAIRS, hidden_size=8, projection=projection)
    objective = settings.build(models)
    assert isinstance(objective, Adversarial)
    with torch.no_grad():
        for weight in objective.parameters():
            weight.mul_(2)
    return objective


def discriminate(weights: list[list[float]], biases: list[list[float]], h: list[float]) -> float:
    """Return the logit of a perceptron of one hidden layer; the last row is its output's."""
    hidden = []
    for row, bias in zip(weights[:-1], biases[0], strict=True):
        value = sum(w * x for w, x in zip(row, h, strict=True)) + bias
        hidden.append(value if value > 0 else 0.2 * value)
    return sum(w * x for w, x in zip(weights[-1], hidden, strict=True)) + biases[1][0]


def reference(objective: Adversarial, case: Case) -> float:
    """Loop over pairs and rows: state, the teacher's logits, the label as one of N_LABELS."""
    assert case.teacher.logits is not None
    logits, total = case.teacher.logits.tolist(), 0.0
    for index, (ours, theirs) in enumerate(PAIRS):
        named = dict(objective.discriminators[index].named_parameters())
        weights = [*named["0.weight"].tolist(), named["2.weight"].tolist()[0]]
        biases = [named["0.bias"].tolist(), named["2.bias"].tolist()]
        student, teacher = case.student.cls[ours].tolist(), case.teacher.cls[theirs].tolist()
        for row, label in enumerate(case.labels.tolist()):
            condition = logits[row] + [float(label == k) for k in range(N_LABELS)]
            of_student = discriminate(weights, biases, student[row] + condition)
            of_teacher = discriminate(weights, biases, teacher[row] + condition)
            is_teacher = [1 / (1 + math.exp(-logit)) for logit in (of_teacher, of_student)]
            total -= (math.log(is_teacher[0]) + math.log(1 - is_teacher[1])) / 2
    return total / len(PAIRS) / len(logits)


def unlabelled(case: Case, *rows: int) -> Case:
    labels = case.labels.clone()
    labels[list(rows)] = -1
    return replace(case, labels=labels)


# Two layers of up to 12 products of numbers of size 1, each rounded to 24 bits.
ROUNDING = 2 * 12 * 2**-22


@pytest.mark.parametrize("rows", [(), (0, 3), (0, 1, 2, 3, 4, 5)])
def test_equals_the_formula(make_case: MakeCase, rows: tuple[int, ...]) -> None:
    """Catches a label -1 taken as the last label, a condition left out, or halves summed."""
    case, objective = unlabelled(make_case(), *rows), adversarial()
    expected = reference(objective, case)
    assert value_of(objective, case) == pytest.approx(expected, abs=ROUNDING)
    assert abs(expected - LOG_2) > 0.01


def test_labels_and_logits_are_conditions(make_case: MakeCase) -> None:
    """Is the negative control of the one above: other labels, no labels, other logits."""
    case, objective = make_case(), adversarial()
    assert case.teacher.logits is not None
    flipped = replace(case.teacher, logits=case.teacher.logits.flip(1))
    others = [
        unlabelled(case, 2),
        replace(case, labels=case.labels.roll(1)),
        replace(case, teacher=flipped),
    ]
    assert all(abs(value_of(objective, one) - value_of(objective, case)) > 1e-3 for one in others)


def test_is_log_2_where_nobody_can_tell(make_case: MakeCase) -> None:
    """Catches another unit, or a loss that is not a mean over both models' states."""
    objective = adversarial()
    with torch.no_grad():
        for weight in objective.discriminators.parameters():
            weight.zero_()
    assert value_of(objective, make_case()) == pytest.approx(LOG_2, abs=2**-24)


def plain_loss(objective: Adversarial, case: Case) -> Tensor:
    """Return the cross-entropy of the discriminators, without a reversal."""
    assert case.teacher.logits is not None
    labels = torch.eye(N_LABELS)[case.labels]
    losses = []
    for (ours, theirs), discriminator in zip(PAIRS, objective.discriminators, strict=True):
        own = case.student.cls[ours]
        if objective.projection.maps:
            own = own @ objective.projection.maps[str(ours)].weight.T
        states = torch.cat([case.teacher.cls[theirs], own])
        condition = torch.cat([case.teacher.logits, labels], 1).repeat(2, 1)
        answer = discriminator(torch.cat([states, condition], 1))[:, 0]
        is_teacher = torch.cat([torch.ones(len(labels)), torch.zeros(len(labels))])
        losses.append(binary_cross_entropy_with_logits(answer, is_teacher))
    return sum(losses, torch.zeros(())) / len(PAIRS)


@pytest.mark.parametrize("projection", [False, True])
def test_the_student_works_against_the_discriminators(
    make_case: MakeCase, projection: bool
) -> None:
    """Catches a student that helps to be told apart, or discriminators that do not learn."""
    case = make_case(student_hidden=NARROW_HIDDEN if projection else HIDDEN)
    objective = adversarial(NARROW_MODELS if projection else MODELS, projection=projection)
    student = [case.student.cls[ours] for ours, _ in PAIRS]
    student += objective.projection.parameters()
    assert len(student) == (4 if projection else 2)
    own = list(objective.discriminators.parameters())
    found = torch.autograd.grad(loss_of(objective, case), student + own)
    plain = torch.autograd.grad(plain_loss(objective, case), student + own)
    signs = [-1] * len(student) + [1] * len(own)
    for one, other, sign in zip(found, plain, signs, strict=True):
        assert one.abs().max() > 100 * ROUNDING
        torch.testing.assert_close(one, sign * other, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_discriminators_learn_to_tell_apart(make_case: MakeCase, seed: int) -> None:
    """Catches a reversal on the wrong side, by which the loss of fixed states would rise."""
    case = make_case()
    torch.manual_seed(seed)
    objective = AdversarialSettings(layer_map=PAIRS).build(MODELS)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.01)
    before = value_of(objective, case)
    for _ in range(50):
        optimizer.zero_grad()
        loss_of(objective, case).backward()
        optimizer.step()
    # 24 random points of 12 numbers can be told apart.
    assert value_of(objective, case) < 0.1 < LOG_2 / 2 < before


def test_the_student_learns_to_pass(make_case: MakeCase) -> None:
    """Catches a gradient that is turned twice: the loss rises for fixed discriminators."""
    case, objective = make_case(), adversarial()
    before = value_of(objective, case)
    states = [case.student.cls[ours] for ours, _ in PAIRS]
    optimizer = torch.optim.SGD(states, lr=1.0)
    for _ in range(5):
        optimizer.zero_grad()
        loss_of(objective, case).backward()
        optimizer.step()
    assert value_of(objective, case) > before + 0.01


@pytest.mark.parametrize("projection", [False, True])
def test_ignores_padding_and_parts(make_case: MakeCase, projection: bool) -> None:
    """Catches a sum over rows, in the discriminators' gradients as well."""
    case = make_case(student_hidden=NARROW_HIDDEN if projection else HIDDEN)
    objective = adversarial(NARROW_MODELS if projection else MODELS, projection=projection)
    check_ignores_padding(objective, case)
    for n_parts in (2, 3, 6):
        check_micro_batches(objective, unlabelled(case, 1, 4), n_parts)


def test_only_mapped_layers_are_taught(make_case: MakeCase) -> None:
    """Catches a gradient on a layer that the layer map leaves alone, or on the logits."""
    logits, *cls = gradients(adversarial(), make_case())[:4]
    assert not logits.any() and not cls[0].any()
    assert cls[1].any() and cls[2].any()


def test_reads_cls_and_logits() -> None:
    """Catches a condition that is missing at the first step."""
    assert AdversarialSettings().needs(make_models(3, 6)) == Needs(
        teacher=frozenset({CLS_STATES, Array(LOGITS)}),
        student=frozenset({Array(CLS, 1), Array(CLS, 2)}),
    )
    assert AdversarialSettings(projection=True).needs(NARROW_MODELS).student == {
        Array(CLS, k) for k in (1,)
    }


def test_refuses_unequal_widths_without_a_projection() -> None:
    """Catches a shape error at the first step, after the capture."""
    with pytest.raises(SettingsError) as raised:
        AdversarialSettings().needs(NARROW_MODELS)
    assert str(raised.value) == (
        "compares states of 4 numbers (student) with states of 6 (teacher). Set projection: true "
        "to learn a map between them"
    )


def test_refuses_a_learned_layer_map() -> None:
    """Catches weights of pairs that two sides would pull in opposite directions."""
    with pytest.raises(SettingsError) as raised:
        parse_section(AdversarialSettings, {"layer_map": "learned"}, "adversarial")
    assert any(fault.startswith("adversarial.layer_map") for fault in raised.value.faults)
