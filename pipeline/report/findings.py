"""What a reader must know first: who is useless, who beats the teacher, what distillation gains.

Students that differ in their seed alone count as one, with the mean of their scores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from statistics import mean, stdev
from typing import Any

from pipeline.core.fingerprint import digest_json
from pipeline.evaluate.usefulness import learns_from_labels_alone
from pipeline.report.comparison import Comparison, SeedGroup, group_by_seed
from pipeline.report.metrics_files import StudentMetrics


@dataclass(frozen=True)
class Contender:
    """A student, or students that differ in their seed alone."""

    group: SeedGroup
    score: float
    """Mean of the members' scores."""
    deviation: float | None
    """Standard deviation of a sample; None of a single student."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.group.name

    @property
    def members(self) -> tuple[StudentMetrics, ...]:
        """At least one student."""
        return self.group.members


@dataclass(frozen=True)
class Gain:
    """What distillation adds to one model.

    Both sides are students of equal `model` settings, so of the same architecture, size and
    start. They differ in their objectives, and may differ in texts and length of training.
    """

    distilled: tuple[Contender, ...]
    """The best that learn from the teacher; more than one where their written scores are equal."""
    labels_only: Contender
    """The best that learns from the labels alone."""
    value: float
    """How much better the first of `distilled` is, in the unit of the metric; below 0 worse."""

    @property
    def is_within_deviation(self) -> bool:
        """Whether the seeds of both sides differ by as much."""
        ours, theirs = self.distilled[0].deviation, self.labels_only.deviation
        if ours is None or theirs is None:
            return False
        return abs(self.value) <= hypot(ours, theirs)


@dataclass(frozen=True)
class Findings:
    """All of it, on the split that students are compared on."""

    best: tuple[Contender, ...]
    """The best first, then those whose written scores are equal to its."""
    n_contenders: int
    teacher_fault: str
    """Why the teacher is useless, a clause about `it`; empty where it is not."""
    beaten_by: tuple[Contender, ...]
    """Those that learn from labels alone and are better than the teacher, the best first."""
    useless: tuple[tuple[str, str], ...]
    """Names of useless students, each with a clause about `it`."""
    gains: tuple[Gain, ...]
    """The largest first, one for each model that was trained in both ways."""

    @property
    def is_best_useless(self) -> bool:
        """Whether no student is of any use."""
        return any(member.student in dict(self.useless) for member in self.best[0].members)


def find(comparison: Comparison, settings: Mapping[str, Any]) -> Findings:
    """Return what is to be said of these students; `settings` are params' `students`.

    A useless student is never the best, nor an example of a gain, while there is another.
    Without labels nobody is useless and nothing is gained.
    """
    useless = dict(_useless(comparison))
    everyone = [
        _contender(comparison, group) for group in group_by_seed(comparison.students, settings)
    ]
    useful = [
        one for one in everyone if any(member.student not in useless for member in one.members)
    ]
    ranked = sorted(useful or everyone, key=lambda one: _rank(comparison, one))
    is_labelled = bool(comparison.labelled_split_names)
    alone = [one for one in ranked if is_labelled and _learns_from_labels_alone(one, settings)]
    measure, teacher_score = comparison.measure, comparison.teacher_score
    return Findings(
        best=_equal_to_first(comparison, ranked),
        n_contenders=len(everyone),
        teacher_fault=comparison.teacher_fault,
        beaten_by=tuple(one for one in alone if measure.is_better(one.score, teacher_score)),
        useless=tuple(useless.items()),
        gains=tuple(_gains(comparison, ranked, everyone, settings)) if is_labelled else (),
    )


def _useless(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for student in comparison.students:
        if fault := comparison.fault(student):
            yield student.student, fault


def _contender(comparison: Comparison, group: SeedGroup) -> Contender:
    scores = [comparison.score(one) for one in group.members]
    return Contender(group, mean(scores), stdev(scores) if len(scores) > 1 else None)


def _rank(comparison: Comparison, one: Contender) -> tuple[float, float, float, str]:
    """Return what is smallest of the best: of equal ones of the smallest, then of the closest."""
    closeness = comparison.fidelities[-1]
    return (
        comparison.measure.loss(one.score, 0.0),
        mean(member.cost.student.n_parameters for member in one.members),
        mean(
            closeness.loss(comparison.split_of(member).fidelity[closeness.name], 0.0)
            for member in one.members
        ),
        one.name,
    )


def _equal_to_first(comparison: Comparison, ranked: Sequence[Contender]) -> tuple[Contender, ...]:
    write = comparison.measure.write
    return tuple(one for one in ranked if write(one.score) == write(ranked[0].score))


def _gains(
    comparison: Comparison,
    useful: Sequence[Contender],
    everyone: Sequence[Contender],
    settings: Mapping[str, Any],
) -> Iterator[Gain]:
    """Yield a gain for each model that has both kinds of students, the largest first."""
    gains = []
    twins_by_model: dict[str, list[Contender]] = {}
    for one in sorted(everyone, key=lambda one: _rank(comparison, one)):
        if (model := _model_of(one, settings)) and _learns_from_labels_alone(one, settings):
            twins_by_model.setdefault(model, []).append(one)
    for model, twins in twins_by_model.items():
        distilled = [
            one
            for one in useful
            if _model_of(one, settings) == model and not _learns_from_labels_alone(one, settings)
        ]
        if distilled:
            best = _equal_to_first(comparison, distilled)
            value = comparison.measure.loss(twins[0].score, best[0].score)
            gains.append(Gain(best, twins[0], value))
    yield from sorted(gains, key=lambda gain: -gain.value)


def _model_of(one: Contender, settings: Mapping[str, Any]) -> str | None:
    """Return a digest of what a student is, whatever it learns from; None where it is unknown."""
    own = settings.get(one.members[0].student)
    if not isinstance(own, Mapping) or not isinstance(own.get("model"), Mapping):
        return None
    said = {name: value for name, value in own["model"].items() if value is not None}
    return digest_json({"architecture": "transformer", **said})


def _learns_from_labels_alone(one: Contender, settings: Mapping[str, Any]) -> bool:
    first = one.members[0]
    return learns_from_labels_alone(first.objectives, settings.get(first.student) or {})
