"""The students that a new project begins with: what its kind of task and its teacher can serve.

Each kind compares labels alone with distillation, and that with what can be matched besides:
[CLS] states where a head reads one token for a row, attention maps where they are captured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipeline.models.architecture import Architecture
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind

_MOST_LAYERS = 3
_TEMPERATURE = 2.0
_CNN_TRAINING = {"learning_rate": 1.0e-3}


@dataclass(frozen=True)
class Student:
    """One student, with the comment that stands beside its name."""

    name: str
    comment: str
    settings: Mapping[str, Any]


def student_depth(teacher: Architecture) -> tuple[int, int | None]:
    """Return the layers of a student's encoder, and of its decoder where the teacher has one.

    Half of the teacher's, at most three of an encoder alone.
    """
    half = max(1, teacher.n_layers // 2)
    if teacher.n_decoder_layers is None:
        return min(half, _MOST_LAYERS), None
    return half, max(1, teacher.n_decoder_layers // 2)


def matched_layers(teacher: Architecture) -> dict[str, list[int]]:
    """Return the teacher layers whose attention maps such students match, by signal."""
    n_layers, n_decoder_layers = student_depth(teacher)
    found = {"attentions": _uniform(n_layers, teacher.n_layers)}
    if n_decoder_layers is not None:
        assert teacher.n_decoder_layers is not None
        found["cross_attentions"] = _uniform(n_decoder_layers, teacher.n_decoder_layers)
    return found


def _uniform(n_student: int, n_teacher: int) -> list[int]:
    return [layer * n_teacher // n_student for layer in range(1, n_student + 1)]


def default_students(
    kind: Kind, teacher: Architecture, *, has_attentions: bool, labels_alone: Mapping[str, Any]
) -> list[Student]:
    """Return the students of a kind of task.

    `labels_alone` is what the `training` of those that learn from nothing but labels says
    differently; a student of attention maps is among them if the store is to have these.
    """
    n_layers, n_decoder_layers = student_depth(teacher)
    model: dict[str, Any] = {"n_layers": n_layers, "warm_start": "first"}
    if n_decoder_layers is not None:
        model = {"n_layers": n_layers, "n_decoder_layers": n_decoder_layers, "warm_start": "every"}
    is_of_rows = TASKS[kind].predicts in ("row", "label")
    hard = {"hard_label": {"weight": 1.0}}
    kd = {"hard_label": {"weight": 0.5}, **_matched_logits(kind)}
    students = []
    if is_of_rows:
        cnn = {"architecture": "text_cnn"}
        alone = _student(cnn, hard, {**_CNN_TRAINING, **labels_alone})
        students += [
            Student("hard-cnn", "a small CNN (Kim 2014) on labels alone", alone),
            Student("kd-cnn", "the same, distilled", _student(cnn, kd, _CNN_TRAINING)),
        ]
    students += [
        Student(
            f"hard-{n_layers}", "labels alone, to compare with", _student(model, hard, labels_alone)
        ),
        Student(f"kd-{n_layers}", "Hinton et al. 2015", _student(model, kd)),
    ]
    if is_of_rows or kind == "multiple_choice":
        kd = {**kd, "cls": {"weight": 1.0, "layer_map": "skip" if n_layers > 1 else "uniform"}}
        students.append(
            Student(f"pkd-{n_layers}", "Sun et al. 2019: and [CLS] states", _student(model, kd))
        )
    if has_attentions:
        for signal in matched_layers(teacher):
            kd = {**kd, signal: {"weight": 1.0, "layer_map": "uniform", "distance": "kl"}}
        named = f"{'pkd' if 'cls' in kd else 'kd'}-attention-{n_layers}"
        students.append(Student(named, "and attention maps", _student(model, kd)))
    return students


def _matched_logits(kind: Kind) -> dict[str, Any]:
    """Return the objective by which students match the teacher's predictions."""
    if TASKS[kind].predicts_numbers:
        return {"logit_match": {"weight": 0.5}}
    # Of word pieces the store has the likeliest, which are exact at temperature 1.
    temperature = 1.0 if TASKS[kind].predicts == "piece" else _TEMPERATURE
    return {"soft_target": {"weight": 0.5, "temperature": temperature}}


def _student(
    model: Mapping[str, Any],
    objectives: Mapping[str, Any],
    training: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    settings: dict[str, Any] = {"model": dict(model), "objectives": dict(objectives)}
    return settings | ({"training": dict(training)} if training else {})
