"""The total loss, its terms, and which objectives params.yaml may choose."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.needs import Needs, ObjectiveSettings
from pipeline.objectives.settings import OBJECTIVES
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS, CLS_STATES
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.models import ENCODER_DECODER_SIGNALS, TRANSFORMER_SIGNALS
from pipeline.signals.signal import Array
from tests.objectives.cases import MODELS, NARROW_MODELS, Case, MakeCase, loss_of

DECODER_SIGNALS = ENCODER_DECODER_SIGNALS - TRANSFORMER_SIGNALS

CHOSEN: dict[str, Any] = {
    "adversarial": {"weight": 1.5, "layer_map": [[1, 1]], "hidden_size": 4},
    "attentions": {"weight": 3.0, "layer_map": [[1, 2], [2, 4]], "distance": "kl"},
    "cls": {"weight": 0.25, "layer_map": [[1, 3]]},
    "hard_label": {"weight": 0.5},
    "hidden_states": {"weight": 0.75, "layer_map": [[0, 1], [2, 4]], "projection": True},
    "logit_match": {"weight": 0.125},
    "similarity": {"weight": 4.0, "layer_map": [[2, 2]]},
    "soft_target": {"weight": 2.0, "temperature": 2.0},
}


def parse(objectives: dict[str, Any]) -> Any:
    return parse_section(ObjectivesSettings, objectives, "students.a.objectives")


def loss_alone(total: WeightedSum, name: str, settings: ObjectiveSettings, case: Case) -> Tensor:
    """Return the loss of one objective built alone, with the weights it has in the sum."""
    alone = settings.build(MODELS)
    alone.load_state_dict(total.objectives[name].state_dict())
    return loss_of(alone, case)


def test_total_is_the_sum_of_weight_times_term(make_case: MakeCase) -> None:
    """Catches a weight that is lost, applied twice, or part of the reported term."""
    case = make_case()
    settings = parse(CHOSEN)
    objective = WeightedSum(settings, MODELS)
    total, terms = objective(case.inputs())
    assert (
        sorted(terms)
        == sorted(CHOSEN)
        == sorted(OBJECTIVES.keys() - {one.name for one in DECODER_SIGNALS})
    )
    for name, chosen in settings.chosen():
        alone = loss_alone(objective, name, chosen, case)
        assert torch.equal(terms[name], alone) and float(alone.detach()) > 0.01
    expected = sum(CHOSEN[name]["weight"] * float(term.detach()) for name, term in terms.items())
    assert float(total.detach()) == pytest.approx(expected, rel=8 * 2**-24)  # 8 additions


def test_gradient_is_the_weighted_sum_of_gradients(make_case: MakeCase) -> None:
    """Catches a term that is reported but does not train the student."""
    case = make_case()
    settings = parse(CHOSEN)
    leaves = case.leaves()

    def gradients(loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)

    objective = WeightedSum(settings, MODELS)
    total, _ = objective(case.inputs())
    expected = [torch.zeros_like(leaf) for leaf in leaves]
    for name, chosen in settings.chosen():
        parts = gradients(loss_alone(objective, name, chosen, case))
        assert any(part.any() for part in parts), name
        expected = [a + chosen.weight * b for a, b in zip(expected, parts, strict=True)]
    for found, wanted in zip(gradients(total), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)  # another order of sums


def test_needs_are_those_of_all_objectives() -> None:
    """Catches a view without what one of several objectives reads."""
    assert parse(CHOSEN).needs(MODELS) == Needs(
        teacher=frozenset(
            {
                Array(LOGITS),
                CLS_STATES,
                Array(ATTENTIONS, 2),
                Array(ATTENTIONS, 4),
                Array(HIDDEN_STATES, 1),
                Array(HIDDEN_STATES, 4),
            }
        ),
        student=frozenset(
            {
                *(Array(CLS, k) for k in (1, 2)),
                *(Array(HIDDEN_STATES, k) for k in (0, 2)),
                *(Array(ATTENTIONS, k) for k in (1, 2)),
            }
        ),
    )
    assert parse({"hard_label": {}}).needs(MODELS) == Needs()
    others = parse({"hard_label": {}, "soft_target": {"other_teachers": {"stores/second": 0.5}}})
    assert others.needs(MODELS).other_stores == {"stores/second"}


def test_all_faults_are_named_at_once() -> None:
    """Catches a refusal of the first objective alone, or one that does not say of which."""
    text_cnn = replace(NARROW_MODELS.student, n_layers=1, gives=frozenset({CLS}))
    models = replace(NARROW_MODELS, student=text_cnn)
    settings = {"cls": {"layer_map": [[1, 4]]}, "hidden_states": {}, "attentions": {}}
    with pytest.raises(SettingsError) as raised:
        parse({"hard_label": {}, "similarity": {"layer_map": "skip"}, **settings}).needs(models)
    places = [fault.split(":")[0] for fault in raised.value.faults]
    names = ["cls", "hidden_states", "attentions", "similarity"]
    assert places == [f"objectives.{name}" for name in names]
    assert raised.value.faults[0] == (
        "objectives.cls: compares states of 4 numbers (student) with states of 6 (teacher). Set "
        "projection: true to learn a map between them"
    )


@pytest.mark.parametrize(("progress", "weights"), [(0, (2, 0)), (0.5, (1.25, 3)), (1, (0.5, 6))])
def test_weights_ramp(make_case: MakeCase, progress: float, weights: tuple[float, float]) -> None:
    """Catches a ramp that stays at its start, or a term that is reported with its weight."""
    case = make_case()
    ramps = {
        "hard_label": {"weight": {"start": 2.0, "end": 0.5}},
        "cls": {"weight": {"start": 0.0, "end": 6.0}, "layer_map": [[1, 3]]},
    }
    objective = WeightedSum(parse(ramps), MODELS)
    total, terms = objective(case.inputs(progress))
    values = [float(terms[name].detach()) for name in ramps]
    assert min(values) > 0.1
    expected = weights[0] * values[0] + weights[1] * values[1]
    # Two products and their sum.
    assert float(total.detach()) == pytest.approx(expected, rel=3 * 2**-24)
    plain = {"hard_label": {}, "cls": {"layer_map": [[1, 3]]}}
    _, unweighted = WeightedSum(parse(plain), MODELS)(case.inputs(progress))
    assert all(torch.equal(terms[name], unweighted[name]) for name in ramps)


@pytest.mark.parametrize(("progress", "temperature"), [(0.0, 6.0), (0.5, 4.0), (1.0, 2.0)])
def test_objectives_know_the_progress(
    make_case: MakeCase, progress: float, temperature: float
) -> None:
    """Catches a temperature that is never told how far the training is."""
    case = make_case()
    values = []
    for setting in ({"start": 6.0, "end": 2.0}, temperature):
        objective = WeightedSum(parse({"soft_target": {"temperature": setting}}), MODELS)
        total, _ = objective(case.inputs(progress))
        values.append(float(total.detach()))
    assert values[0] == values[1] > 0.1


def test_weights_of_objectives_are_trained() -> None:
    """Catches projections, discriminators and learned maps that no optimizer is given."""
    settings = {**CHOSEN, "cls": {"layer_map": "learned", "projection": True}}
    names = {
        name.split(".")[1] for name, _ in WeightedSum(parse(settings), MODELS).named_parameters()
    }
    assert names == {"cls", "hidden_states", "adversarial"}


@pytest.mark.parametrize(
    ("objectives", "fault"),
    [
        (
            {},
            "students.a.objectives: choose at least one objective: " + ", ".join(OBJECTIVES),
        ),
        (
            {"soft_targets": {}},
            "students.a.objectives.soft_targets: unknown key; did you mean 'soft_target'?",
        ),
        (
            {"cls": {"weight": 0}},
            "students.a.objectives.cls.weight: should be greater than 0, got 0",
        ),
        (
            {"cls": {"weight": {"start": -1, "end": 1}}},
            "students.a.objectives.cls.weight.start: should be greater than or equal to 0, got -1",
        ),
    ],
)
def test_impossible_choices_are_refused(objectives: dict[str, Any], fault: str) -> None:
    """Catches a misspelt objective that trains a student without it."""
    with pytest.raises(SettingsError) as raised:
        parse(objectives)
    assert fault in raised.value.faults
