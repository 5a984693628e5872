"""Section `evaluation` of params.yaml."""

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.evaluate.settings import EvaluationSettings


def test_a_missing_section_has_defaults() -> None:
    """Catches a default that its own validation would refuse."""
    settings = parse_section(EvaluationSettings, None, "evaluation")
    assert settings == EvaluationSettings()
    assert settings.splits == ("validation", "test")
    assert settings == EvaluationSettings.model_validate_json(settings.model_dump_json())


def test_every_fault_is_reported() -> None:
    """Catches an unknown split, no split, or timing nothing."""
    wrong = {"splits": ["train"], "n_latency_repeats": 0, "n_latency_examples": 0}
    with pytest.raises(SettingsError) as caught:
        parse_section(EvaluationSettings, wrong, "evaluation")
    places = [fault.split(":")[0] for fault in caught.value.faults]
    assert places == [
        "evaluation.splits.0",
        "evaluation.n_latency_repeats",
        "evaluation.n_latency_examples",
    ]


@pytest.mark.parametrize("splits", [[], ["test", "test"]])
def test_splits_are_named_once(splits: list[str]) -> None:
    """Catches evaluating nothing, or the same split twice."""
    with pytest.raises(SettingsError, match=r"evaluation\.splits: name validation, test or both"):
        parse_section(EvaluationSettings, {"splits": splits}, "evaluation")
