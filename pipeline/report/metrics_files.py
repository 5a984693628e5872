"""Reading the metrics files of all students, so that they can stand in one report.

A file is read as untrusted: it may be missing, cut short, from an older version, or
measured against another teacher than its neighbours.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipeline.core.errors import PipelineError
from pipeline.report.student_metrics import Scores, StudentMetrics

TEACHER_TOLERANCE = 1e-4
"""Scores of one teacher may differ by this much between machines, which round differently, or
by this share where they are above 1. The report prints none of them finer."""


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
    if one.task != other.task:
        return f"tasks {one.task} and {other.task}"
    if one.metrics != other.metrics:
        return f"metrics {', '.join(one.metrics)} and {', '.join(other.metrics)}"
    if one.labels != other.labels:
        return f"labels {', '.join(one.labels)} and {', '.join(other.labels)}"
    if one.split_names != other.split_names:
        return f"splits {', '.join(one.split_names)} and {', '.join(other.split_names)}"
    for name in one.split_names:
        left, right = one.splits[name], other.splits[name]
        for count in ("n_rows", "n_labelled"):
            if getattr(left, count) != getattr(right, count):
                return f"{name}.{count} is {getattr(left, count):,} and {getattr(right, count):,}"
        if difference := _teacher_fault(left.teacher, right.teacher):
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
