"""[CLS] matching against the paper's formula and its authors' code."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.core.errors import SettingsError
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import ClsObjectiveSettings
from pipeline.signals.cls import CLS, CLS_STATES, MOMENTS
from pipeline.signals.signal import Array
from tests.compared import make_models
from tests.objectives.cases import (
    HIDDEN,
    MODELS,
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
SAME_LAYERS = ((0, 0), (1, 1), (2, 2))
FORMS = [(form, way) for form in ("l2", "standardise", "none") for way in ("mean", "sum")]


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
            if normalise != "l2":
                norms = [1.0, 1.0]
            units = [1.0] * len(teacher)
            if normalise == "standardise":
                units = case.teacher.cls_deviations[theirs].tolist()
            for s, t, unit in zip(student, teacher, units, strict=True):
                total += ((s / norms[0] - t / norms[1]) / unit) ** 2
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
        teacher=frozenset({CLS_STATES}),
        student=frozenset(Array(CLS, k) for k in (1, 2, 3, 4, 5)),
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


def test_a_number_that_never_changes_has_no_deviation_to_divide_by(make_case: MakeCase) -> None:
    """Catches infinity where a number of [CLS] is the same in all rows of the store."""
    case = make_case(is_equal=True)
    constant = {k: torch.zeros(HIDDEN) for k in case.teacher.cls_deviations}
    case = replace(case, teacher=replace(case.teacher, cls_deviations=constant))
    assert value_of(cls_match("standardise", "sum", SAME_LAYERS), case) == 0


def test_standardise_reads_the_deviations() -> None:
    """Catches a store without its moments found at the first step."""
    needs = ClsObjectiveSettings(normalise="standardise").needs(MODELS)
    assert needs.teacher == {CLS_STATES, MOMENTS}


@pytest.mark.parametrize("normalise", ["l2", "none"])
def test_a_projection_compares_unequal_widths(make_case: MakeCase, normalise: str) -> None:
    """Catches one map for all layers, a map after the normalisation, or a bias."""
    case = make_case(student_hidden=NARROW_HIDDEN)
    settings = {"layer_map": PAIRS, "normalise": normalise, "projection": True}
    objective = ClsObjectiveSettings.model_validate(settings).build(NARROW_MODELS)
    maps = {name.split(".")[2]: weight for name, weight in objective.named_parameters()}
    assert sorted(maps) == ["1", "2"] and not torch.equal(maps["1"], maps["2"])
    assert all(weight.shape == (HIDDEN, NARROW_HIDDEN) for weight in maps.values())
    projected = {}
    for layer, weight in maps.items():
        rows, columns = case.student.cls[int(layer)].double(), weight.detach().double()
        projected[int(layer)] = torch.stack(
            [torch.stack([(row * column).sum() for column in columns]) for row in rows]
        )
    as_wide = replace(case, student=replace(case.student, cls=projected))
    # 72 terms as in the formula's test, of states that are sums of 4 products.
    assert value_of(objective, case) == pytest.approx(
        reference(as_wide, normalise, "sum"), rel=4 * 72 * 2**-24
    )
    assert all(part.any() for part in torch.autograd.grad(loss_of(objective, case), maps.values()))


def test_a_projection_gives_the_same_gradient_in_parts(make_case: MakeCase) -> None:
    """Catches a mean over another number of rows in the projection's own gradient."""
    settings = ClsObjectiveSettings(layer_map=PAIRS, projection=True)
    case = make_case(student_hidden=NARROW_HIDDEN)
    check_micro_batches(settings.build(NARROW_MODELS), case, n_parts=3)


def test_refuses_unequal_widths_without_a_projection() -> None:
    """Catches a shape error at the first step, after the capture."""
    with pytest.raises(SettingsError) as raised:
        ClsObjectiveSettings().needs(NARROW_MODELS)
    assert str(raised.value) == (
        "compares states of 4 numbers (student) with states of 6 (teacher). Set projection: true "
        "to learn a map between them"
    )
    assert ClsObjectiveSettings(projection=True).needs(NARROW_MODELS).student == {
        Array(CLS, k) for k in (1,)
    }


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_learned_weighs_all_layers_of_the_teacher(make_case: MakeCase, reduction: str) -> None:
    """Catches a sum over all pairs, which grows with the teacher's depth, or weights unused."""
    case = make_case()
    settings = {"layer_map": "learned", "reduction": reduction}
    objective = ClsObjectiveSettings.model_validate(settings).build(MODELS)
    (scores,) = objective.parameters()
    assert scores.shape == (2, 4)
    with torch.no_grad():
        scores.copy_(torch.tensor([[0.0, 1.0, -1.0, 2.0], [1.0, 0.0, 0.5, -2.0]]))
    expected = 0.0
    for ours, row in enumerate(scores.tolist(), start=1):
        for theirs, score in enumerate(row, start=1):
            alone = cls_match("l2", reduction, ((ours, theirs),))
            share = math.exp(score) / sum(map(math.exp, row))
            expected += share * value_of(alone, case)
    expected /= 1 if reduction == "sum" else 2
    # 8 positive terms, each with the rounding of the formula's test.
    assert value_of(objective, case) == pytest.approx(expected, rel=80 * 2**-24)
    assert gradients(objective, case)[-1].all()
    check_micro_batches(objective, case, n_parts=3)


def test_a_student_of_another_tokenizer_has_cls_all_the_same() -> None:
    """Catches a refusal of what needs no token of one model to be one of the other."""
    models = make_models(2, 4, reads_teacher_tokens=False)
    assert ClsObjectiveSettings().needs(models).student == {Array(CLS, 1)}


def test_the_one_layer_of_a_text_cnn_has_nothing_below_it() -> None:
    """Catches a student without Transformer layers that is asked for its embedding output."""
    models = make_models(1, 4, gives=frozenset({CLS}), architecture="text_cnn")
    assert ClsObjectiveSettings(layer_map=((1, 4),)).needs(models).student == {
        Array(CLS, k) for k in (1,)
    }
    with pytest.raises(SettingsError) as raised:
        ClsObjectiveSettings(layer_map=((0, 4),)).needs(models)
    assert str(raised.value) == (
        "layer map pairs student layer 0 with teacher layer 4, but the student has hidden states "
        "1..1"
    )
