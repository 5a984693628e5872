"""Attention matching of models that differ in heads, and of students that pool instead."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.core.errors import SettingsError
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import AttentionsObjectiveSettings
from pipeline.signals.attentions import ATTENTIONS, POOLING
from pipeline.signals.cls import CLS
from pipeline.signals.models import Models
from pipeline.signals.signal import Array
from tests.compared import make_models
from tests.objectives.cases import (
    HIDDEN,
    MODELS,
    N_HEADS,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    flatten,
    gradients,
    value_of,
)

PAIRS = ((1, 2), (2, 4))
OTHER_HEADS = replace(MODELS, student=replace(MODELS.student, n_heads=3))
POOLED = make_models(
    1, 4, hidden_size=HIDDEN, gives=frozenset({CLS, POOLING}), architecture="bilstm"
)

each_distance = pytest.mark.parametrize("distance", ["mse", "kl"])


def settings_of(**settings: Any) -> AttentionsObjectiveSettings:
    return AttentionsObjectiveSettings.model_validate(settings)


def mean_match(distance: str, models: Models = MODELS) -> Objective:
    return settings_of(layer_map=PAIRS, distance=distance, heads="mean").build(models)


def pooling_match(distance: str, layer: int = 3) -> Objective:
    return settings_of(layer_map=((1, layer),), distance=distance).build(POOLED)


def with_mean_maps(case: Case) -> Case:
    """Return the case with the mean of the teacher's maps in place of all of them."""
    means = {
        layer: flatten(maps.double().mean(1, keepdim=True), case.lengths)
        for layer, maps in case.teacher_maps.items()
    }
    return replace(case, teacher=replace(case.teacher, attentions={}, mean_attentions=means))


def element(p: float, q: float, distance: str) -> float:
    """Return the distance of the teacher's p and the student's q."""
    return (q - p) ** 2 if distance == "mse" else p * (math.log(p) - math.log(q))


def reference(case: Case, distance: str) -> float:
    """Loop over pairs, rows, queries and keys of maps averaged over their heads."""
    total = 0.0
    for ours, theirs in PAIRS:
        student = case.student.attentions[ours].double().mean(1).tolist()
        teacher = case.teacher_maps[theirs].double().mean(1).tolist()
        for row, n in enumerate(case.lengths):
            part = 0.0
            for query in range(n):
                for key in range(n):
                    part += element(teacher[row][query][key], student[row][query][key], distance)
            total += part / (n * (n if distance == "mse" else 1))
    return total / len(PAIRS) / len(case.lengths)


def pooling_reference(case: Case, distance: str, layer: int) -> float:
    """Loop over rows and keys: the student's weights, and the first token's of the teacher."""
    assert case.student.pooling is not None
    student = case.student.pooling.tolist()
    teacher = case.teacher_maps[layer].double().mean(1).tolist()
    total = 0.0
    for row, n in enumerate(case.lengths):
        part = sum(element(teacher[row][0][key], student[row][key], distance) for key in range(n))
        total += part / (n if distance == "mse" else 1)
    return total / len(case.lengths)


# KL: up to 7 terms of p log p, below 10 in size, rounded to 24 bits; the mean keeps it.
ROUNDING = 70 * 2**-24


@each_distance
@pytest.mark.parametrize("heads", [N_HEADS, 3])
@pytest.mark.parametrize("stored", ["all", "mean"])
def test_the_mean_equals_the_formula(
    make_case: MakeCase, distance: str, heads: int, stored: str
) -> None:
    """Catches a mean of the heads' losses, a flat mean of other heads, or a factor of heads."""
    case = make_case(student_heads=heads)
    assert len(set(case.lengths)) > 3
    expected = reference(case, distance)
    if stored == "mean":
        case = with_mean_maps(case)
    objective = mean_match(distance, MODELS if heads == N_HEADS else OTHER_HEADS)
    assert value_of(objective, case) == pytest.approx(expected, abs=ROUNDING)
    assert expected > 0.01


@each_distance
@pytest.mark.parametrize("stored", ["all", "mean"])
def test_the_mean_is_zero_at_equality(make_case: MakeCase, distance: str, stored: str) -> None:
    """Catches maps of other rows or layers; with heads in another order it is still zero."""
    case = make_case(is_equal=True)
    flipped = {layer: maps.flip(1) for layer, maps in case.teacher_maps.items()}
    flat = {layer: flatten(maps, case.lengths) for layer, maps in flipped.items()}
    case = replace(case, teacher=replace(case.teacher, attentions=flat), teacher_maps=flipped)
    if stored == "mean":
        case = with_mean_maps(case)
    settings = {"layer_map": ((1, 1), (2, 2)), "distance": distance}
    assert abs(value_of(settings_of(**settings, heads="mean").build(MODELS), case)) <= ROUNDING
    if stored == "all":
        assert value_of(settings_of(**settings).build(MODELS), case) > 0.01
    assert value_of(mean_match(distance), make_case()) > 0.01


@each_distance
@pytest.mark.parametrize("stored", ["all", "mean"])
def test_the_mean_ignores_padding_and_parts(
    make_case: MakeCase, distance: str, stored: str
) -> None:
    """Catches offsets of rows in the flat maps that hold for the whole batch alone."""
    case = make_case(student_heads=3)
    case = with_mean_maps(case) if stored == "mean" else case
    check_ignores_padding(mean_match(distance, OTHER_HEADS), case)
    for n_parts in (2, 3, 6):
        check_micro_batches(mean_match(distance, OTHER_HEADS), case, n_parts)


def test_other_heads_are_refused_unless_averaged() -> None:
    """Catches flat maps of 3 heads compared with those of 2."""
    with pytest.raises(SettingsError) as raised:
        settings_of().needs(OTHER_HEADS)
    assert str(raised.value) == (
        "compares maps of 3 heads (student) with maps of 2 (teacher). Set heads: mean"
    )
    assert settings_of(heads="mean").needs(OTHER_HEADS).student == {
        Array(ATTENTIONS, 1),
        Array(ATTENTIONS, 2),
    }


def test_mean_maps_are_read_where_the_store_has_them() -> None:
    """Catches a store with mean maps alone that is asked for all, or the other way round."""
    mean, whole = Array(ATTENTIONS, 2, "mean"), Array(ATTENTIONS, 2)
    settings = settings_of(layer_map=((1, 2),), heads="mean")
    assert settings.needs(MODELS).teacher == {whole}
    assert settings.needs(replace(MODELS, captured=frozenset({mean, whole}))).teacher == {mean}
    every_head = settings_of(layer_map=((1, 2),))
    assert every_head.needs(replace(MODELS, captured=frozenset({mean}))).teacher == {whole}


@each_distance
@pytest.mark.parametrize("stored", ["all", "mean"])
@pytest.mark.parametrize("layer", [1, 4])
def test_pooling_equals_the_row_of_the_first_token(
    make_case: MakeCase, distance: str, stored: str, layer: int
) -> None:
    """Catches the column of the first token, a row of another, or a mean over all queries."""
    case = make_case()
    expected = pooling_reference(case, distance, layer)
    case = with_mean_maps(case) if stored == "mean" else case
    objective = pooling_match(distance, layer)
    assert value_of(objective, case) == pytest.approx(expected, abs=ROUNDING)
    assert expected > 0.01
    check_ignores_padding(objective, case)
    for n_parts in (2, 3, 6):
        check_micro_batches(objective, case, n_parts)


@each_distance
def test_pooling_is_zero_where_it_is_the_teachers(make_case: MakeCase, distance: str) -> None:
    """Catches a loss whose minimum is not at the teacher."""
    case = make_case()
    row = case.teacher_maps[3].mean(1)[:, 0] * case.student.mask
    same = replace(case, student=replace(case.student, pooling=row.requires_grad_()))
    assert abs(value_of(pooling_match(distance), same)) <= ROUNDING
    assert value_of(pooling_match(distance), case) > 0.01


def test_pooling_reads_no_maps_of_the_student() -> None:
    """Catches a BiLSTM that is asked for attention maps, which it does not have."""
    mean = Array(ATTENTIONS, 4, "mean")
    expected = Needs(teacher=frozenset({Array(ATTENTIONS, 4)}), student=frozenset({Array(POOLING)}))
    assert settings_of(layer_map="uniform").needs(POOLED) == expected
    captured = replace(POOLED, captured=frozenset({mean}))
    assert settings_of(layer_map="uniform").needs(captured).teacher == {mean}


def test_pooling_is_refused_where_the_teacher_reads_another_token() -> None:
    """Catches weights that are compared with those of a token that says nothing."""
    teacher = POOLED.teacher.model_copy(update={"head_reads": "last"})
    with pytest.raises(SettingsError) as raised:
        settings_of().needs(replace(POOLED, teacher=teacher))
    assert str(raised.value) == (
        "compares the student's attention pooling with the row of the teacher's first token, but "
        "the teacher's head reads the last token. Take this objective out"
    )


def test_refuses_a_student_that_has_neither() -> None:
    """Catches a KeyError at the first step of a TextCNN."""
    models = make_models(1, 4, gives=frozenset({CLS}), architecture="text_cnn")
    with pytest.raises(SettingsError) as raised:
        settings_of().needs(models)
    assert str(raised.value) == (
        "compares attention maps, which a text_cnn student does not have; it gives logits, [CLS] "
        "states. Take this objective out"
    )


@pytest.mark.parametrize("heads", ["all", "mean"])
def test_learned_weighs_the_captured_layers_alone(make_case: MakeCase, heads: str) -> None:
    """Catches pairs with layers that the store does not have, or one layer taken twice."""
    captured = {Array(ATTENTIONS, 3), Array(ATTENTIONS, 1)}
    means = {Array(ATTENTIONS, 3, "mean"), Array(ATTENTIONS, 1, "mean")}
    models = replace(MODELS, captured=frozenset({*captured, *means, Array(CLS)}))
    settings = settings_of(layer_map="learned", heads=heads)
    assert settings.pairs(models) == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert settings.needs(models) == Needs(
        teacher=frozenset(means if heads == "mean" else captured),
        student=frozenset({Array(ATTENTIONS, 1), Array(ATTENTIONS, 2)}),
    )
    objective, case = settings.build(models), make_case()
    alone = [
        value_of(settings_of(layer_map=(pair,), heads=heads).build(models), case)
        for pair in settings.pairs(models)
    ]
    # Equal weights at first; four terms of the formula's rounding.
    assert value_of(objective, case) == pytest.approx(sum(alone) / 4, rel=4 * 2**-23)
    (scores,) = objective.parameters()
    with torch.no_grad():
        scores.copy_(torch.tensor([[40.0, 0.0], [0.0, 40.0]]))
    # e^-40 is nothing in 24 bits.
    assert value_of(objective, case) == pytest.approx((alone[0] + alone[3]) / 2, rel=4 * 2**-23)
    assert abs(alone[0] + alone[3] - sum(alone) / 2) > 0.001
    check_micro_batches(settings.build(models), case, n_parts=3)
    assert gradients(settings.build(models), case)[-1].all()
