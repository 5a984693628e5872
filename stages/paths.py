"""Where the stages leave their results, relative to the project's folder."""

from pathlib import Path

ARTIFACTS = Path("artifacts")
TOKENS = ARTIFACTS / "tokens"
AUGMENTED = ARTIFACTS / "augmented"
GENERATED = ARTIFACTS / "generated"
"""Texts that the teacher wrote."""
TEACHER = ARTIFACTS / "teacher"
STORE = ARTIFACTS / "teacher_store"
VIEWS = ARTIFACTS / "views"
SHOWN = ARTIFACTS / "shown"
"""What finished students are compared with."""
STUDENTS = ARTIFACTS / "students"
UNFINISHED = ARTIFACTS / "unfinished"
"""Trainings that were stopped; no output of a stage, so DVC leaves it alone."""
EVALUATIONS = ARTIFACTS / "evaluations"
STAMPS = ARTIFACTS / "stamps"
"""Of results that hold none themselves; no output of a stage either."""
SECONDS = ARTIFACTS / "seconds"
"""How long stages took, on this machine; no output of a stage either."""
EXPORTS = ARTIFACTS / "exports"

REPORTS = Path("reports")
TEACHER_METRICS = REPORTS / "teacher.json"
STUDENT_METRICS = REPORTS / "metrics"
EXPORT_METRICS = REPORTS / "exports"
CURVES = REPORTS / "curves"


def view_path(student: str) -> Path:
    """Return the file with a student's view of the store."""
    return VIEWS / f"{student}.json"


def shown_path(student: str) -> Path:
    """Return the file with the part of the store that a student is compared with."""
    return SHOWN / f"{student}.json"


def metrics_path(student: str) -> Path:
    """Return the file with a student's metrics."""
    return STUDENT_METRICS / f"{student}.json"


def export_metrics_path(student: str) -> Path:
    """Return the file with the metrics of a student's export."""
    return EXPORT_METRICS / f"{student}.json"
