"""Students beside their teacher: the few numbers that a report derives from the metrics.

Students that differ in nothing but the seed are found here too.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import mean, median, stdev
from types import MappingProxyType
from typing import Any

from pipeline.core.fingerprint import digest_json
from pipeline.evaluate.cost_figures import Cost, Work
from pipeline.evaluate.fidelity import FIDELITIES, Fidelity, fidelities_of
from pipeline.evaluate.settings import SplitName
from pipeline.metrics import METRICS, Metric
from pipeline.metrics.constant_baseline import ConstantBaseline
from pipeline.metrics.measure import Measure
from pipeline.report.metrics_files import Scores, SplitMetrics, StudentMetrics
from pipeline.report.wording import WORDINGS, Wording


@dataclass(frozen=True)
class Comparison:
    """Students that were tested on the same rows against the same teacher."""

    students: tuple[StudentMetrics, ...]
    """At least one, in the order of the report."""

    teacher_cost: Cost | None
    """Median of each number over the students' files that have one."""

    settings: Mapping[str, Any]
    """Section `students` of params.yaml, as far as it is known."""

    @property
    def teacher_work(self) -> Work | None:
        """What the teacher's forward takes; it is counted, so one student's file will do."""
        return next((one.work.teacher for one in self.students if one.work.teacher), None)

    @property
    def split_names(self) -> tuple[SplitName, ...]:
        """The measured splits, validation before test."""
        return self.students[0].split_names

    @property
    def compared_on(self) -> SplitName:
        """The split that drops, fidelity and the choice of the best refer to."""
        return self.students[0].compared_on

    @property
    def labelled_split_names(self) -> tuple[SplitName, ...]:
        """The splits with scores against labels."""
        splits = self.students[0].splits
        return tuple(name for name in self.split_names if splits[name].n_labelled)

    @property
    def wording(self) -> Wording:
        """How the report speaks of their kind of task."""
        return WORDINGS[self.students[0].task]

    @property
    def things(self) -> str:
        """What the predictions are about: rows, words and so on."""
        return self.wording.things

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What models are judged by against the labels; the first ranks students."""
        return tuple(METRICS[name] for name in self.students[0].metrics)

    @property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """How students are compared with the teacher; without labels the first ranks them."""
        return tuple(FIDELITIES[name] for name in fidelities_of(self.students[0].task))

    @property
    def measure(self) -> Measure[Any]:
        """What students are ranked by."""
        return self.metrics[0] if self.labelled_split_names else self.fidelities[0]

    def split_of(self, student: StudentMetrics) -> SplitMetrics:
        """Return what was measured on the split that students are compared on."""
        return student.splits[self.compared_on]

    def score(self, student: StudentMetrics) -> float:
        """Return the student's value of `measure`."""
        split = self.split_of(student)
        return (split.student or split.fidelity)[self.measure.name]

    def teacher_scores(self, split_name: SplitName) -> Scores | None:
        """Return the teacher's scores on a split, or None where it has no labels."""
        return self.students[0].splits[split_name].teacher

    def fault(self, student: StudentMetrics) -> str:
        """Return why a student is useless, a clause about `it`; empty where it is not."""
        return self._fault(self.split_of(student).constant_baseline.student)

    @property
    def teacher_fault(self) -> str:
        """Why the teacher is useless, likewise."""
        return self._fault(self.split_of(self.students[0]).constant_baseline.teacher)

    def _fault(self, baseline: ConstantBaseline | None) -> str:
        return "" if baseline is None else baseline.fault("it", self.compared_on)

    @property
    def teacher_score(self) -> float:
        """The teacher's value of `measure`; without labels 1, as it agrees with itself."""
        teacher = self.teacher_scores(self.compared_on)
        return teacher[self.measure.name] if teacher else 1.0

    def drop(self, student: StudentMetrics) -> float:
        """Return how much worse the student's score is than the teacher's."""
        return self.measure.loss(self.score(student), self.teacher_score)

    def times_smaller(self, student: StudentMetrics) -> float | None:
        """Return the teacher's parameters over the student's, if the teacher's are known."""
        if self.teacher_cost is None:
            return None
        return self.teacher_cost.n_parameters / student.cost.student.n_parameters

    def times_faster(self, student: StudentMetrics) -> float | None:
        """Return the teacher's latency over the student's, both timed in one process."""
        if student.cost.teacher is None:
            return None
        return student.cost.teacher.latency_ms / student.cost.student.latency_ms


def compare(
    students: Sequence[StudentMetrics], settings: Mapping[str, Any] = MappingProxyType({})
) -> Comparison:
    """Return the students beside their teacher; they must be comparable, and at least one."""
    costs = [one.cost.teacher for one in students if one.cost.teacher is not None]
    return Comparison(tuple(students), _median_cost(costs) if costs else None, settings)


def _median_cost(costs: Sequence[Cost]) -> Cost:
    return Cost(
        n_parameters=round(median(cost.n_parameters for cost in costs)),
        size_bytes=round(median(cost.size_bytes for cost in costs)),
        latency_ms=median(cost.latency_ms for cost in costs),
        throughput_per_second=median(cost.throughput_per_second for cost in costs),
    )


@dataclass(frozen=True)
class SeedGroup:
    """Students that differ in their seed alone, or a single one."""

    name: str
    """What their names have in common."""
    members: tuple[StudentMetrics, ...]
    score: float
    """Mean of what students are ranked by."""
    deviation: float | None
    """Standard deviation of a sample; None of a single student."""


def group_by_seed(comparison: Comparison) -> tuple[SeedGroup, ...]:
    """Return all students in groups, in the order of each group's first member."""
    by_rest: dict[str, list[StudentMetrics]] = {}
    for student in comparison.students:
        own = comparison.settings.get(student.student)
        rest = [student.student] if own is None else _without_seed(own)
        by_rest.setdefault(digest_json(rest), []).append(student)
    groups = []
    for members in by_rest.values():
        name = _common_name([one.student for one in members])
        scores = [comparison.score(one) for one in members]
        deviation = stdev(scores) if len(scores) > 1 else None
        groups.append(SeedGroup(name, tuple(members), mean(scores), deviation))
    return tuple(groups)


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
