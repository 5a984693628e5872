"""The total loss, its terms, and which objectives params.yaml may choose."""

from typing import Any

import pytest
import torch

from pipeline.errors import SettingsError
from pipeline.objectives import OBJECTIVES
from pipeline.objectives.objective import Needs
from pipeline.objectives.weighted_sum import ObjectivesSettings, WeightedSum
from pipeline.settings import parse_section
from pipeline.store.spec import ArraySpec
from tests.objectives.conftest import MODELS, MakeCase

WHOLE = dict.fromkeys(OBJECTIVES, 1.0)

CHOSEN: dict[str, Any] = {
    "attentions": {"weight": 3.0, "layer_map": [[1, 2], [2, 4]], "distance": "kl"},
    "cls": {"weight": 0.25, "layer_map": [[1, 3]]},
    "hard_label": {"weight": 0.5},
    "logit_match": {"weight": 0.125},
    "soft_target": {"weight": 2.0, "temperature": 2.0},
}


def parse(objectives: dict[str, Any]) -> Any:
    return parse_section(ObjectivesSettings, objectives, "students.a.objectives")


def test_total_is_the_sum_of_weight_times_term(make_case: MakeCase) -> None:
    """Catches a weight that is lost, applied twice, or part of the reported term."""
    case = make_case()
    settings = parse(CHOSEN)
    objective = WeightedSum(settings, MODELS)
    total, terms = objective(case.student, case.teacher, case.labels, WHOLE, 0.0)
    assert sorted(terms) == sorted(CHOSEN)
    for name, chosen in settings.chosen():
        alone = chosen.build(MODELS)(case.student, case.teacher, case.labels)
        assert torch.equal(terms[name], alone) and float(alone.detach()) > 0.01
    expected = sum(CHOSEN[name]["weight"] * float(term.detach()) for name, term in terms.items())
    assert float(total.detach()) == pytest.approx(expected, rel=5 * 2**-24)  # five additions


def test_gradient_is_the_weighted_sum_of_gradients(make_case: MakeCase) -> None:
    """Catches a term that is reported but does not train the student."""
    case = make_case()
    settings = parse(CHOSEN)
    leaves = case.leaves()

    def gradients(loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)

    total, _ = WeightedSum(settings, MODELS)(case.student, case.teacher, case.labels, WHOLE, 0.0)
    expected = [torch.zeros_like(leaf) for leaf in leaves]
    for name, chosen in settings.chosen():
        loss = chosen.build(MODELS)(case.student, case.teacher, case.labels)
        parts = gradients(loss)
        assert any(part.any() for part in parts), name
        expected = [a + chosen.weight * b for a, b in zip(expected, parts, strict=True)]
    for found, wanted in zip(gradients(total), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)  # another order of sums


def test_needs_are_those_of_all_objectives() -> None:
    """Catches a view without what one of several objectives reads."""
    assert parse(CHOSEN).needs(MODELS) == Needs(
        teacher=frozenset(
            {
                ArraySpec("logits"),
                ArraySpec("cls"),
                ArraySpec("attentions", 2),
                ArraySpec("attentions", 4),
            }
        ),
        student_cls=frozenset({1}),
        student_attentions=frozenset({1, 2}),
    )
    assert parse({"hard_label": {}}).needs(MODELS) == Needs()


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
    ],
)
def test_impossible_choices_are_refused(objectives: dict[str, Any], fault: str) -> None:
    """Catches a misspelt objective that trains a student without it."""
    with pytest.raises(SettingsError) as raised:
        parse(objectives)
    assert fault in raised.value.faults
