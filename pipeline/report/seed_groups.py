"""Students that differ in nothing but the seed, as one: mean and standard deviation."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from statistics import mean, stdev
from typing import Any

from pipeline.core.fingerprint import digest_json
from pipeline.evaluate.fidelity import Fidelity
from pipeline.evaluate.settings import SplitName
from pipeline.metrics import Metric
from pipeline.report.comparison import Comparison
from pipeline.report.student_metrics import StudentMetrics

HOW_TO_READ = (
    "Students whose settings differ only in training.seed: mean ± standard deviation over them "
    "(of a sample, so divided by one less than their number). A difference between two objectives "
    "that is not clearly above these deviations is chance."
)


@dataclass(frozen=True)
class SeedGroup:
    """Students that differ in their seed alone."""

    name: str
    """What their names have in common."""
    members: tuple[StudentMetrics, ...]


@dataclass(frozen=True)
class SeedColumn:
    """One measure of every group."""

    heading: str
    unit: str
    cells: tuple[str, ...]


def group_by_seed(
    students: Sequence[StudentMetrics], settings: Mapping[str, Any]
) -> tuple[SeedGroup, ...]:
    """Return the groups of two or more; `settings` are params' `students`."""
    return tuple(group for group in group_all(students, settings) if len(group.members) > 1)


def group_all(
    students: Sequence[StudentMetrics], settings: Mapping[str, Any]
) -> tuple[SeedGroup, ...]:
    """Return the groups in the order of their first member; a student may be one of its own."""
    by_rest: dict[str, list[StudentMetrics]] = {}
    for student in students:
        is_known = student.student in settings
        rest = _without_seed(settings[student.student]) if is_known else [student.student]
        by_rest.setdefault(digest_json(rest), []).append(student)
    return tuple(
        SeedGroup(_common_name([one.student for one in members]), tuple(members))
        for members in by_rest.values()
    )


def build_seed_columns(
    comparison: Comparison, groups: Sequence[SeedGroup]
) -> tuple[SeedColumn, ...]:
    """Return what differs between the seeds: quality, closeness to the teacher, speed."""
    return tuple(
        SeedColumn(
            heading,
            unit,
            tuple(_spread([value(one) for one in group.members], digits) for group in groups),
        )
        for heading, unit, digits, value in _measures(comparison)
    )


_Measure = tuple[str, str, int, Callable[[StudentMetrics], float]]


def _measures(comparison: Comparison) -> Iterator[_Measure]:
    yield "students", "", 0, lambda one: 1.0
    metric = comparison.metrics[0]
    for split in comparison.labelled_split_names:
        yield (
            f"{metric.heading}, {split}",
            metric.unit.name,
            metric.unit.digits,
            partial(_written_score, metric, split),
        )
    split = comparison.compared_on
    if comparison.labelled_split_names:
        yield (
            metric.loss_heading,
            metric.unit_of_differences,
            metric.unit.digits,
            lambda one: metric.unit.factor * comparison.drop(one),
        )
    for measure in comparison.fidelities:
        yield (
            measure.heading,
            measure.unit.name,
            measure.unit.digits,
            partial(_written_fidelity, measure, split),
        )
    yield "latency", "ms", 2, lambda one: one.cost.student.latency_ms


def _written_score(metric: Metric, split: SplitName, student: StudentMetrics) -> float:
    scores = student.splits[split].student
    assert scores is not None
    return metric.unit.factor * scores[metric.name]


def _written_fidelity(measure: Fidelity, split: SplitName, student: StudentMetrics) -> float:
    return measure.unit.factor * student.splits[split].fidelity[measure.name]


def _spread(values: Sequence[float], digits: int) -> str:
    if digits == 0:
        return str(len(values))
    return f"{mean(values):z.{digits}f} ± {stdev(values):.{digits}f}"


def _without_seed(settings: Any) -> Any:
    """Return a student's settings without its seed, and without `training` if that was all."""
    rest = copy.deepcopy(settings)
    if isinstance(rest, dict) and isinstance(rest.get("training"), dict):
        rest["training"].pop("seed", None)
        if not rest["training"]:
            del rest["training"]
    return rest


def _common_name(names: Sequence[str]) -> str:
    """Return the words that all names begin with, or all names where there is none."""
    words = [re.split(r"(?<=[-_])", name) for name in names]
    common = takewhile(lambda alike: len(set(alike)) == 1, zip(*words, strict=False))
    shortest = min(names, key=len)
    if all(name == shortest or name.startswith((f"{shortest}-", f"{shortest}_")) for name in names):
        return shortest
    return "".join(alike[0] for alike in common).rstrip("-_") or ", ".join(names)
