"""Attention matching: padded maps of the student against flat ones of the teacher."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.core.errors import SettingsError
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import AttentionsObjectiveSettings
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.signal import Array
from tests.compared import make_models
from tests.objectives.cases import (
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
SAME_LAYERS = ((1, 1), (2, 2))
DISTANCES = ["mse", "kl"]


def attention_match(distance: str, pairs: tuple[tuple[int, int], ...] = PAIRS) -> Objective:
    settings = AttentionsObjectiveSettings.model_validate(
        {"layer_map": pairs, "distance": distance}
    )
    return settings.build(MODELS)


def reference(case: Case, distance: str) -> float:
    """Loop over pairs, rows, heads, queries and keys of the padded maps."""
    total = 0.0
    for ours, theirs in PAIRS:
        student = case.student.attentions[ours].tolist()
        teacher = case.teacher_maps[theirs].tolist()
        for row, n in enumerate(case.lengths):
            part = 0.0
            for head in range(N_HEADS):
                for query in range(n):
                    for key in range(n):
                        q = student[row][head][query][key]
                        p = teacher[row][head][query][key]
                        if distance == "mse":
                            part += (q - p) ** 2
                        elif p > 0:
                            part += p * (math.log(p) - math.log(max(q, 2**-24)))
            total += part / (N_HEADS * n * (n if distance == "mse" else 1))
    return total / len(PAIRS) / len(case.lengths)


@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_the_formula(make_case: MakeCase, distance: str) -> None:
    """Catches a long row that counts more than a short one, or flat maps read out of order."""
    case = make_case()
    assert len(set(case.lengths)) > 3
    expected = reference(case, distance)
    # KL: up to 7 terms of p log p, below 10 in size, rounded to 24 bits; the mean keeps it.
    assert value_of(attention_match(distance), case) == pytest.approx(expected, abs=70 * 2**-24)
    assert expected > 0.01


@pytest.mark.parametrize("distance", DISTANCES)
def test_is_zero_at_equality(make_case: MakeCase, distance: str) -> None:
    """Catches a cross-entropy, or maps of other rows, heads or tokens."""
    objective = attention_match(distance, SAME_LAYERS)
    assert value_of(objective, make_case(is_equal=True)) == 0
    assert value_of(objective, make_case()) > 0.01


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("axis", ["row", "head", "query and key"])
def test_swapped_maps_are_noticed(make_case: MakeCase, distance: str, axis: str) -> None:
    """Is the negative control of the one above: a flat order with any two axes swapped."""
    case = make_case([4] * 6, is_equal=True)
    swap = {
        "row": lambda maps: maps.roll(1, 0),
        "head": lambda maps: maps.flip(1),
        "query and key": lambda maps: maps.transpose(2, 3),
    }[axis]
    swapped = {layer: flatten(swap(maps), [4] * 6) for layer, maps in case.teacher_maps.items()}
    case = replace(case, teacher=replace(case.teacher, attentions=swapped))
    assert value_of(attention_match(distance, SAME_LAYERS), case) > 0.01


@pytest.mark.parametrize("distance", DISTANCES)
def test_ignores_padding(make_case: MakeCase, distance: str) -> None:
    """Catches padding that is compared, counted, or multiplied by a mask (NaN stays NaN)."""
    check_ignores_padding(attention_match(distance), make_case())


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("n_parts", [2, 3, 6])
def test_micro_batches_give_the_gradient_of_the_batch(
    make_case: MakeCase, distance: str, n_parts: int
) -> None:
    """Catches a mean over tokens of the whole batch, in which a row's share depends on others."""
    check_micro_batches(attention_match(distance), make_case(), n_parts)


def with_zeros(case: Case, *, of_student: bool, of_teacher: bool) -> Case:
    """Return the case with the first key of every map at probability zero."""
    student, teacher = dict(case.student.attentions), dict(case.teacher_maps)
    for layer in student:
        maps = student[layer].detach().clone()
        if of_student:
            maps[..., 0] = 0
        student[layer] = maps.requires_grad_()
    for layer in teacher:
        teacher[layer] = teacher[layer].clone()
        if of_teacher:
            teacher[layer][..., 0] = 0
    flat = {layer: flatten(maps, case.lengths) for layer, maps in teacher.items()}
    return replace(
        case,
        student=replace(case.student, attentions=student),
        teacher=replace(case.teacher, attentions=flat),
        teacher_maps=teacher,
    )


@pytest.mark.parametrize(("of_student", "of_teacher"), [(True, False), (False, True), (True, True)])
def test_kl_tolerates_zeros(make_case: MakeCase, of_student: bool, of_teacher: bool) -> None:
    """Catches 0 log 0, and an infinite loss where float16 rounded a probability to zero."""
    case = with_zeros(make_case(), of_student=of_student, of_teacher=of_teacher)
    loss = value_of(attention_match("kl"), case)
    # As above, with logarithms up to 17.
    assert loss == pytest.approx(reference(case, "kl"), abs=7 * 17 * 2**-24)
    parts = gradients(attention_match("kl"), case)
    assert all(torch.isfinite(part).all() for part in parts)
    assert any(part.any() for part in parts)


def test_maps_rounded_to_float16_are_no_distance(make_case: MakeCase) -> None:
    """Catches a clamp that makes a float16 store's small probabilities count."""
    case = make_case(is_equal=True)
    sharper = {
        layer: maps.detach().clone().pow(4).nan_to_num()
        for layer, maps in case.student.attentions.items()
    }
    for maps in sharper.values():
        for row, n in enumerate(case.lengths):
            real = maps[row, :, :n, :n]
            maps[row, :, :n, :n] = real / real.sum(-1, keepdim=True)
    stored = {layer: flatten(maps, case.lengths).half().float() for layer, maps in sharper.items()}
    case = replace(
        case,
        student=replace(case.student, attentions=sharper),
        teacher=replace(case.teacher, attentions=stored),
    )
    # Sums of rounded maps are off by 2^-11 at most, and KL(p (1 + e) || p) is below 2 e.
    assert abs(value_of(attention_match("kl", SAME_LAYERS), case)) < 2 * 2**-11


def test_reads_the_mapped_layers() -> None:
    """Catches layers that are stored for nothing, or missing at the first step."""
    settings = AttentionsObjectiveSettings(layer_map="uniform")
    assert settings.needs(make_models(3, 6)) == Needs(
        teacher=frozenset(Array(ATTENTIONS, layer) for layer in (2, 4, 6)),
        student=frozenset(Array(ATTENTIONS, k) for k in (1, 2, 3)),
    )


def test_refuses_the_embedding_output() -> None:
    """Catches a pair with layer 0, which has hidden states but no attention maps."""
    with pytest.raises(SettingsError) as raised:
        AttentionsObjectiveSettings(layer_map=((1, 0),)).needs(MODELS)
    assert str(raised.value) == (
        "layer map pairs student layer 1 with teacher layer 0, but the teacher has attention maps "
        "1..4"
    )
