"""What is said of a model that is of no use, whatever its scores look like beside another's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.metrics import METRICS
from pipeline.metrics.constant_baseline import ConstantBaseline

LABELS_ALONE = ("hard_label",)
"""The objectives of a student that learns nothing from its teacher."""


def learns_from_labels_alone(objectives: Sequence[str], settings: Mapping[str, Any]) -> bool:
    """Say whether a student, `settings` its own of params.yaml, reads nothing of its teacher's.

    Whatever its objectives are, texts that the teacher wrote are the teacher's.
    """
    return tuple(objectives) == LABELS_ALONE and settings.get("targets", "data") == "data"


def usefulness_warnings(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield a clause, without a full stop, for each split and model of no use.

    `metrics` are those of `evaluate`, `settings` the student's own of params.yaml.
    """
    student = metrics["student"]
    first = METRICS[metrics["metrics"][0]]
    is_alone = learns_from_labels_alone(metrics["objectives"], settings)
    for split, scores in metrics["splits"].items():
        for who, name in (("teacher", "the teacher"), ("student", student)):
            form = scores["constant_baseline"][who]
            if form is not None and (fault := ConstantBaseline(**form).fault(name, split)):
                yield fault
        if not is_alone or not scores["student"]:
            continue
        ours, theirs = scores["student"][first.name], scores["teacher"][first.name]
        if first.is_better(ours, theirs):
            yield (
                f"the teacher is beaten on {split} by {student}, which learnt from the labels "
                f"alone: {first.heading} {first.write_with_unit(theirs)} against "
                f"{first.write_with_unit(ours)}"
            )
