"""The metrics file of one student, and reading those of all, so that they can stand in one report.

A file is read as untrusted: it may be missing, cut short, from another version, or measured
against another teacher than its neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from pipeline.core.errors import PipelineError
from pipeline.evaluate.cost_figures import Cost, Work
from pipeline.evaluate.fidelity import FIDELITIES, fidelities_of
from pipeline.evaluate.settings import SplitName
from pipeline.metrics import METRICS
from pipeline.metrics.constant_baseline import ConstantBaseline
from pipeline.metrics.measure import Measure
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind

SPLIT_ORDER: tuple[SplitName, ...] = ("validation", "test")
TEACHER_TOLERANCE = 1e-4
"""Scores of one teacher may differ by this much between machines, which round differently, or
by this share where they are above 1. The report prints none of them finer."""


class Part(BaseModel):
    """A part of a metrics file. Keys it does not know are left to later versions."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


Scores = dict[str, float]
"""By the name of a metric, or of a measure of fidelity."""


def _none_if_empty(value: object) -> object:
    return None if value == {} else value


ScoresIfLabelled = Annotated[Scores | None, BeforeValidator(_none_if_empty)]
"""In the file, a split without labels has an empty object."""


class Baselines(Part):
    """Both models beside the best prediction that is the same for all; None where it is unknown."""

    student: ConstantBaseline | None = None
    teacher: ConstantBaseline | None = None

    @model_validator(mode="after")
    def _has_known_metrics(self) -> Self:
        for baseline in filter(None, (self.student, self.teacher)):
            if baseline.metric not in METRICS:
                raise ValueError(f"there is no metric {baseline.metric}")
        return self


class SplitMetrics(Part):
    """What was measured on one split."""

    n_rows: int
    n_questions: int | None = None
    """Of questions that are read in windows, each of them a row."""
    n_predictions: int
    n_labelled: int
    """Of the predictions."""
    student: ScoresIfLabelled
    """Against the labels."""
    teacher: ScoresIfLabelled
    fidelity: Scores
    """Closeness of the student to its teacher."""
    constant_baseline: Baselines

    @model_validator(mode="after")
    def _has_both_scores_or_none(self) -> Self:
        if {self.student is None, self.teacher is None} != {self.n_labelled == 0}:
            raise ValueError(
                f"{self.n_labelled} predictions are labelled; student and teacher must have scores "
                "where there are labels, and only there"
            )
        return self


class Costs(Part):
    """What student and teacher cost, timed in turn in one process."""

    device: str
    n_threads: int
    student: Cost
    teacher: Cost | None
    """Absent where the teacher's weights were not at hand."""

    @model_validator(mode="after")
    def _is_positive(self) -> Self:
        for cost in filter(None, (self.student, self.teacher)):
            for name, value in asdict(cost).items():
                if value <= 0:
                    raise ValueError(f"{name} is {value}; a cost is above zero")
        return self


class Works(Part):
    """What a forward of student and teacher takes."""

    student: Work
    teacher: Work | None
    """Absent where the teacher's weights were not at hand."""


def _faults(
    place: str, scores: Mapping[str, float], known: Mapping[str, Measure[Any]]
) -> Sequence[str]:
    """Return what is wrong with some scores; a teacher's own texts need not be at hand."""
    missing = [
        f"{place}.{name}: missing"
        for name, measure in known.items()
        if name not in scores and not (measure.reads_texts and place.endswith(".teacher"))
    ]
    impossible = [
        f"{place}.{name}: {fault}"
        for name, measure in known.items()
        if name in scores and (fault := measure.fault(scores[name]))
    ]
    return missing + impossible


class StudentMetrics(Part):
    """One student's metrics file."""

    student: str
    architecture: str
    n_layers: int | None
    objectives: tuple[str, ...]
    task: Kind
    metrics: tuple[str, ...]
    """Names of those that all scores against labels have; the first ranks students."""
    labels: tuple[str, ...]
    splits: Annotated[dict[SplitName, SplitMetrics], Field(min_length=1)]
    cost: Costs
    work: Works

    @model_validator(mode="after")
    def _has_possible_scores(self) -> Self:
        if self.task not in TASKS:
            raise ValueError(f"task: there is no kind of task {self.task}")
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise ValueError(f"metrics: there is no metric {unknown or 'named'}")
        metrics = {name: METRICS[name] for name in self.metrics}
        fidelities = {name: FIDELITIES[name] for name in fidelities_of(self.task)}
        faults: list[str] = []
        for split, one in self.splits.items():
            for who, scores, known in (
                ("student", one.student, metrics),
                ("teacher", one.teacher, metrics),
                ("fidelity", one.fidelity, fidelities),
            ):
                if scores is not None:
                    faults += _faults(f"splits.{split}.{who}", scores, known)
        if faults:
            count = f" (the first of {len(faults)} faults)" if len(faults) > 1 else ""
            raise ValueError(faults[0] + count)
        return self

    @property
    def split_names(self) -> tuple[SplitName, ...]:
        """The measured splits in their canonical order, whatever the file's."""
        return tuple(name for name in SPLIT_ORDER if name in self.splits)

    @property
    def compared_on(self) -> SplitName:
        """The last split with labels, or the last where none has any."""
        labelled = [name for name in self.split_names if self.splits[name].n_labelled]
        return (labelled or self.split_names)[-1]


def read_all_metrics(paths: Sequence[Path]) -> tuple[StudentMetrics, ...]:
    """Return the metrics in the files, sorted by path.

    Raises:
        PipelineError: there is no file; one is missing or malformed; two are about the
            same student; or the students were not tested on the same rows against the
            same teacher.
    """
    if not paths:
        raise PipelineError(
            "no student has been evaluated, so there is nothing to report. "
            "Name students in params.yaml and run 'dvc repro'."
        )
    ordered = sorted(paths)
    metrics = tuple(read_metrics(path) for path in ordered)
    by_student: dict[str, Path] = {}
    for path, one in zip(ordered, metrics, strict=True):
        if one.student in by_student:
            raise PipelineError(
                f"{by_student[one.student]} and {path} are both about student '{one.student}'. "
                "Delete the one that is not its own."
            )
        by_student[one.student] = path
        if difference := _comparison_fault(metrics[0], one):
            raise PipelineError(
                f"{ordered[0]} and {path} cannot stand in one report: {difference}. "
                "Run 'dvc repro' to evaluate all students against the same teacher."
            )
    return metrics


def read_metrics(path: Path) -> StudentMetrics:
    """Return the metrics of one student.

    Raises:
        PipelineError: the file is missing or is not a student's metrics.
    """
    try:
        return StudentMetrics.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise PipelineError(
            f"{path}: no such file. Run 'dvc repro evaluate@{path.stem}' to make it."
        ) from None
    except ValidationError as error:
        first, *others = error.errors()
        place = ".".join(map(str, first["loc"]))
        count = f" (the first of {1 + len(others)} faults)" if others else ""
        raise PipelineError(
            f"{path} does not hold a student's metrics: "
            f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}{count}. "
            f"Run 'dvc repro --force --single-item evaluate@{path.stem}' to make it anew."
        ) from None


def _comparison_fault(one: StudentMetrics, other: StudentMetrics) -> str:
    """Return why the two must not be compared, or nothing."""
    for what, left, right in (
        ("tasks", (one.task,), (other.task,)),
        ("metrics", one.metrics, other.metrics),
        ("labels", one.labels, other.labels),
        ("splits", one.split_names, other.split_names),
    ):
        if left != right:
            return f"{what} {', '.join(left)} and {', '.join(right)}"
    for name in one.split_names:
        ours, theirs = one.splits[name], other.splits[name]
        for count in ("n_rows", "n_labelled"):
            if getattr(ours, count) != getattr(theirs, count):
                return f"{name}.{count} is {getattr(ours, count):,} and {getattr(theirs, count):,}"
        if difference := _teacher_fault(ours.teacher, theirs.teacher):
            return f"on {name}, their teachers differ: {difference}"
    return ""


def _teacher_fault(one: Scores | None, other: Scores | None) -> str:
    if one is None or other is None:
        return "" if one is other else "only one has scores"
    for name in sorted(one.keys() & other.keys()):
        tolerance = TEACHER_TOLERANCE * max(1.0, abs(one[name]))
        if abs(one[name] - other[name]) > tolerance:
            return f"{name} {one[name]:.4f} and {other[name]:.4f}"
    return ""
