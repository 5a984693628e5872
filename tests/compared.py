"""The two models of a comparison, as small or as deep as a test wants them."""

from collections.abc import Iterable
from typing import Any

from pipeline.models.architecture import Architecture
from pipeline.signals.models import Models, StudentShape
from pipeline.signals.signal import Array


def make_models(
    student: int = 2,
    teacher: int = 4,
    *,
    hidden_size: int = 6,
    n_heads: int = 2,
    captured: Iterable[Array] = (),
    **of_student: Any,
) -> Models:
    """Return models of so many layers; `of_student` changes fields of the student's shape."""
    shape: dict[str, Any] = {
        "n_layers": student,
        "hidden_size": hidden_size,
        "n_heads": n_heads,
        **of_student,
    }
    return Models(
        student=StudentShape(**shape),
        teacher=Architecture(
            model_type="bert",
            n_layers=teacher,
            n_heads=n_heads,
            hidden_size=hidden_size,
            n_labels=3,
            head_reads="first",
        ),
        captured=frozenset(captured),
    )
