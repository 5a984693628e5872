"""Hidden-state matching: padded states of the student against flat ones of the teacher."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import SettingsError
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import HiddenStatesObjectiveSettings
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS
from pipeline.signals.hidden_states import HIDDEN_STATES
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
    flatten_states,
    gradients,
    loss_of,
    value_of,
)

PAIRS = ((0, 0), (1, 2), (2, 4))
SAME_LAYERS = ((0, 0), (1, 1), (2, 2))
DISTANCES = ["mse", "cosine"]

# A row's mean of up to 7 tokens, each of 6 products of numbers of size 1, 24 bits each.
ROUNDING = 42 * 2**-24

each_distance = pytest.mark.parametrize("distance", DISTANCES)


def settings_of(**settings: Any) -> HiddenStatesObjectiveSettings:
    return HiddenStatesObjectiveSettings.model_validate(settings)


def hidden_state_match(
    distance: str, pairs: tuple[tuple[int, int], ...] = PAIRS, **settings: Any
) -> Objective:
    return settings_of(layer_map=pairs, distance=distance, **settings).build(MODELS)


def reference(case: Case, distance: str, states: Mapping[int, Tensor], pairs: Any = PAIRS) -> float:
    """Loop over pairs, rows and tokens of padded states; `states` are the student's."""
    total = 0.0
    for ours, theirs in pairs:
        student, teacher = states[ours].tolist(), case.teacher_states[theirs].tolist()
        for row, n in enumerate(case.lengths):
            part = 0.0
            for s, t in zip(student[row][:n], teacher[row][:n], strict=True):
                if distance == "mse":
                    part += sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / HIDDEN
                else:
                    product = sum(a * b for a, b in zip(s, t, strict=True))
                    part += 1 - product / math.sqrt(sum(a * a for a in s) * sum(b * b for b in t))
            total += part / n
    return total / len(pairs) / len(case.lengths)


@each_distance
def test_equals_the_formula(make_case: MakeCase, distance: str) -> None:
    """Catches a long row that counts more than a short one, or states read out of order."""
    case = make_case()
    assert len(set(case.lengths)) > 3
    expected = reference(case, distance, case.student.hidden_states)
    assert value_of(hidden_state_match(distance), case) == pytest.approx(expected, rel=ROUNDING)
    assert expected > 0.1


@each_distance
def test_is_zero_at_equality(make_case: MakeCase, distance: str) -> None:
    """Catches layers, rows or tokens that are paired with others."""
    objective = hidden_state_match(distance, SAME_LAYERS)
    assert abs(value_of(objective, make_case(is_equal=True))) <= ROUNDING
    assert value_of(objective, make_case()) > 0.1


@each_distance
@pytest.mark.parametrize("axis", ["row", "token", "hidden"])
def test_swapped_states_are_noticed(make_case: MakeCase, distance: str, axis: str) -> None:
    """Is the negative control of the one above: states moved along an axis."""
    case = make_case([4] * 6, is_equal=True)
    moved = {
        layer: flatten_states(states.roll(1, ("row", "token", "hidden").index(axis)), [4] * 6)
        for layer, states in case.teacher_states.items()
    }
    case = replace(case, teacher=replace(case.teacher, hidden_states=moved))
    assert value_of(hidden_state_match(distance, SAME_LAYERS), case) > 0.1


def test_cosine_compares_directions_only(make_case: MakeCase) -> None:
    """Catches a product that is divided by the length of one model's states only."""
    case = make_case(is_equal=True)
    louder = {layer: 7 * states for layer, states in case.teacher.hidden_states.items()}
    case = replace(case, teacher=replace(case.teacher, hidden_states=louder))
    assert abs(value_of(hidden_state_match("cosine", SAME_LAYERS), case)) <= ROUNDING
    assert value_of(hidden_state_match("mse", SAME_LAYERS), case) > 1


@each_distance
@pytest.mark.parametrize("projection", [False, True])
def test_ignores_padding(make_case: MakeCase, distance: str, projection: bool) -> None:
    """Catches padding that is compared, counted, or multiplied by a mask (NaN stays NaN)."""
    check_ignores_padding(hidden_state_match(distance, projection=projection), make_case())


@each_distance
@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("n_parts", [2, 3, 6])
def test_micro_batches_give_the_gradient_of_the_batch(
    make_case: MakeCase, distance: str, projection: bool, n_parts: int
) -> None:
    """Catches a mean over tokens of the whole batch, in which a row's share depends on others."""
    objective = hidden_state_match(distance, projection=projection)
    check_micro_batches(objective, make_case(), n_parts)


@each_distance
def test_a_projection_compares_unequal_widths(make_case: MakeCase, distance: str) -> None:
    """Catches one map for all layers, a map of the teacher's states, or a bias."""
    case = make_case(student_hidden=NARROW_HIDDEN)
    settings = settings_of(layer_map=PAIRS, distance=distance, projection=True)
    objective = settings.build(NARROW_MODELS)
    maps = {int(name.split(".")[2]): weight for name, weight in objective.named_parameters()}
    assert sorted(maps) == [0, 1, 2] and not torch.equal(maps[1], maps[2])
    projected = {}
    for layer, states in case.student.hidden_states.items():
        weight = maps[layer].detach().double()
        assert weight.shape == (HIDDEN, NARROW_HIDDEN)
        columns = [(states.detach().double() * row).sum(-1) for row in weight]
        projected[layer] = torch.stack(columns, -1)
    expected = reference(case, distance, projected)
    # States are sums of 4 products here.
    assert value_of(objective, case) == pytest.approx(expected, rel=4 * ROUNDING)
    assert all(part.any() for part in torch.autograd.grad(loss_of(objective, case), maps.values()))


@each_distance
def test_learned_weighs_the_captured_layers_alone(make_case: MakeCase, distance: str) -> None:
    """Catches pairs with layers that the store does not have, or a mean over all pairs."""
    captured = [Array(HIDDEN_STATES, 4), Array(HIDDEN_STATES, 1), Array(CLS)]
    models = replace(MODELS, captured=frozenset([*captured, Array(ATTENTIONS, 2)]))
    settings = settings_of(layer_map="learned", distance=distance)
    assert settings.pairs(models) == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert settings.needs(models) == Needs(
        teacher=frozenset(captured[:2]),
        student=frozenset({Array(HIDDEN_STATES, 1), Array(HIDDEN_STATES, 2)}),
    )
    objective = settings.build(models)
    (scores,) = objective.parameters()
    with torch.no_grad():
        scores.copy_(torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]]))
    case = make_case()
    shares = {(1, 1): 0.25, (1, 4): 0.75, (2, 1): 0.8, (2, 4): 0.2}
    states = case.student.hidden_states
    losses = {pair: reference(case, distance, states, [pair]) for pair in shares}
    expected = sum(share * losses[pair] for pair, share in shares.items()) / 2
    assert value_of(objective, case) == pytest.approx(expected, rel=2 * ROUNDING)
    assert gradients(objective, case)[-1].all()
    check_micro_batches(objective, case, n_parts=3)


def test_reads_the_mapped_layers() -> None:
    """Catches layers that are stored for nothing, or missing at the first step."""
    assert settings_of(layer_map="uniform").needs(make_models(3, 6)) == Needs(
        teacher=frozenset(Array(HIDDEN_STATES, layer) for layer in (2, 4, 6)),
        student=frozenset(Array(HIDDEN_STATES, k) for k in (1, 2, 3)),
    )


def test_refuses_unequal_widths_without_a_projection() -> None:
    """Catches a shape error at the first step, after the capture."""
    with pytest.raises(SettingsError) as raised:
        settings_of().needs(NARROW_MODELS)
    assert str(raised.value) == (
        "compares states of 4 numbers (student) with states of 6 (teacher). Set projection: true "
        "to learn a map between them"
    )
    assert settings_of(projection=True).needs(NARROW_MODELS).student == {
        Array(HIDDEN_STATES, 1),
        Array(HIDDEN_STATES, 2),
    }


def test_refuses_a_student_that_has_none() -> None:
    """Catches a KeyError at the first step of a student that is no Transformer."""
    models = make_models(1, 4, gives=frozenset({CLS}), architecture="text_cnn")
    with pytest.raises(SettingsError) as raised:
        settings_of().needs(models)
    assert str(raised.value) == (
        "compares hidden states of tokens, which a text_cnn student does not have; it gives "
        "logits, [CLS] states. Take this objective out"
    )


def test_refuses_a_student_of_another_tokenizer() -> None:
    """Catches tokens compared with other words' tokens."""
    with pytest.raises(SettingsError) as raised:
        settings_of().needs(make_models(2, 4, reads_teacher_tokens=False))
    assert str(raised.value) == (
        "compares hidden states of tokens token by token, but the student has another tokenizer "
        "than the teacher. Use objectives of whole examples (logits, [CLS]), or a student "
        "checkpoint with the teacher's tokenizer"
    )
