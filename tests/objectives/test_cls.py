"""[CLS] matching against the paper's formula and its authors' code."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import SettingsError
from pipeline.objectives.cls import ClsObjectiveSettings
from pipeline.objectives.objective import Needs, Objective
from pipeline.store.spec import ArraySpec
from tests.compared import make_models
from tests.objectives.conftest import (
    HIDDEN,
    MODELS,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    gradients,
    loss_of,
    value_of,
)

PAIRS = ((1, 2), (2, 4))
SAME_LAYERS = ((0, 0), (1, 1), (2, 2))
FORMS = [(form, way) for form in ("l2", "none") for way in ("mean", "sum")]


def cls_match(
    normalise: str, reduction: str, pairs: tuple[tuple[int, int], ...] = PAIRS
) -> Objective:
    settings = ClsObjectiveSettings.model_validate(
        {"layer_map": pairs, "normalise": normalise, "reduction": reduction}
    )
    return settings.build(MODELS)


def reference(case: Case, normalise: str, reduction: str) -> float:
    total = 0.0
    for ours, theirs in PAIRS:
        rows = zip(case.student.cls[ours].tolist(), case.teacher.cls[theirs].tolist(), strict=True)
        for student, teacher in rows:
            norms = [math.sqrt(sum(x * x for x in state)) for state in (student, teacher)]
            if normalise == "none":
                norms = [1.0, 1.0]
            for s, t in zip(student, teacher, strict=True):
                total += (s / norms[0] - t / norms[1]) ** 2
    n_rows = len(case.labels)
    return total / n_rows / (len(PAIRS) * HIDDEN if reduction == "mean" else 1)


@pytest.mark.parametrize(("normalise", "reduction"), FORMS)
def test_equals_the_formula(make_case: MakeCase, normalise: str, reduction: str) -> None:
    """Catches another reduction: two public implementations differ by a factor of 3,840."""
    case = make_case()
    expected = reference(case, normalise, reduction)
    # 72 positive terms of numbers of size 1, rounded to 24 bits a few times each.
    assert value_of(cls_match(normalise, reduction), case) == pytest.approx(
        expected, rel=72 * 2**-24
    )
    assert expected > 0.1


def test_mean_and_sum_differ_by_pairs_times_width(make_case: MakeCase) -> None:
    """Catches a docstring that is no longer true."""
    case = make_case()
    ratio = value_of(cls_match("l2", "sum"), case) / value_of(cls_match("l2", "mean"), case)
    assert ratio == pytest.approx(2 * HIDDEN, rel=72 * 2**-24)  # as above


@pytest.mark.parametrize(("normalise", "reduction"), FORMS)
def test_is_zero_at_equality(make_case: MakeCase, normalise: str, reduction: str) -> None:
    """Catches layers that are paired with others than they should be."""
    objective = cls_match(normalise, reduction, SAME_LAYERS)
    assert value_of(objective, make_case(is_equal=True)) == 0
    assert value_of(objective, make_case()) > 0.1


def test_l2_compares_directions_only(make_case: MakeCase) -> None:
    """Catches a normalisation of one model only, or over the wrong axis."""
    case = make_case(is_equal=True)
    louder = {layer: 7 * states for layer, states in case.teacher.cls.items()}
    case = replace(case, teacher=replace(case.teacher, cls=louder))
    # Each of 6 squares is of a difference of two rounded numbers below 1.
    assert value_of(cls_match("l2", "sum", SAME_LAYERS), case) < 18 * (2**-22) ** 2
    assert value_of(cls_match("none", "sum", SAME_LAYERS), case) > 1


def test_only_mapped_layers_are_taught(make_case: MakeCase) -> None:
    """Catches a gradient on a layer that the layer map leaves alone."""
    case = make_case()
    parts = dict(zip(case.student.cls, gradients(cls_match("l2", "sum"), case)[1:], strict=False))
    assert not parts[0].any()
    assert parts[1].any() and parts[2].any()


def test_ignores_padding(make_case: MakeCase) -> None:
    """Catches a state taken from a padded position."""
    check_ignores_padding(cls_match("l2", "sum"), make_case())


@pytest.mark.parametrize(("normalise", "reduction"), FORMS)
@pytest.mark.parametrize("n_parts", [2, 3])
def test_micro_batches_give_the_gradient_of_the_batch(
    make_case: MakeCase, normalise: str, reduction: str, n_parts: int
) -> None:
    """Catches a sum over rows, which `sum` does not mean."""
    check_micro_batches(cls_match(normalise, reduction), make_case(), n_parts)


def test_reads_cls_of_the_mapped_layers() -> None:
    """Catches a student whose states are missing at the first step."""
    settings = ClsObjectiveSettings(layer_map="skip")
    assert settings.needs(make_models(6, 12)) == Needs(
        teacher=frozenset({ArraySpec("cls")}), student_cls=frozenset({1, 2, 3, 4, 5})
    )


def test_the_embedding_output_may_be_paired(make_case: MakeCase) -> None:
    """Catches a lowest layer of 1, or layer numbers that are off by one."""
    case = make_case()
    expected = (case.student.cls[0] - case.teacher.cls[3]).square().sum(1).mean()
    assert torch.equal(loss_of(cls_match("none", "sum", ((0, 3),)), case), expected)


def test_refuses_a_layer_that_is_not_there() -> None:
    """Catches a KeyError after the capture."""
    with pytest.raises(SettingsError) as raised:
        ClsObjectiveSettings(layer_map=((2, 5),)).needs(MODELS)
    assert str(raised.value) == (
        "layer map pairs student layer 2 with teacher layer 5, but the teacher has hidden states "
        "0..4 (0 is the embedding output)"
    )
