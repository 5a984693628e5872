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


@dataclass(frozen=True)
class Schedules:
    """What the `training` of some students says differently from the section of that name."""

    labels_alone: Mapping[str, Any]
    """Of students that learn from labels alone; nothing unless labels are few among the texts."""
    cnn: Mapping[str, Any]
    cnn_of_labels: Mapping[str, Any]


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


def matched_layers(teacher: Architecture) -> dict[str, tuple[int, int]]:
    """Return the layers of such a student and of the teacher whose attention maps are matched.

    By signal; the last layers alone, which say most and take least room.
    """
    n_layers, n_decoder_layers = student_depth(teacher)
    found = {"attentions": (n_layers, teacher.n_layers)}
    if n_decoder_layers is not None:
        assert teacher.n_decoder_layers is not None
        found["cross_attentions"] = (n_decoder_layers, teacher.n_decoder_layers)
    return found


def default_students(
    kind: Kind, teacher: Architecture, schedules: Schedules, *, has_attentions: bool
) -> list[Student]:
    """Return the students of a kind of task.

    A student of attention maps is among them if the store is to have these.
    """
    n_layers, n_decoder_layers = student_depth(teacher)
    model: dict[str, Any] = {"n_layers": n_layers, "warm_start": "first"}
    if n_decoder_layers is not None:
        model = {"n_layers": n_layers, "n_decoder_layers": n_decoder_layers, "warm_start": "every"}
    is_of_rows = TASKS[kind].predicts in ("row", "label")
    hard = {"hard_label": {"weight": 1.0}}
    kd = _taught(kind, labels_are_few=bool(schedules.labels_alone))
    students = []
    if is_of_rows:
        cnn = {"architecture": "text_cnn"}
        students += [
            Student(
                "hard-cnn",
                "a TextCNN (Kim 2014) on labels alone, to compare with",
                _student(cnn, hard, schedules.cnn_of_labels),
            ),
            Student(
                "kd-cnn",
                "the same one, taught by the teacher (Hinton et al. 2015)",
                _student(cnn, kd, schedules.cnn),
            ),
        ]
    students += [
        Student(
            f"hard-{n_layers}",
            "fewer layers of the teacher on labels alone",
            _student(model, hard, schedules.labels_alone),
        ),
        Student(f"kd-{n_layers}", "and taught by it", _student(model, kd)),
    ]
    if is_of_rows or TASKS[kind].predicts == "choice":
        kd = {**kd, "cls": {"weight": 1.0, "layer_map": "skip" if n_layers > 1 else "uniform"}}
        comment = "and [CLS] states (Sun et al. 2019)"
        students.append(Student(f"pkd-{n_layers}", comment, _student(model, kd)))
    if has_attentions:
        for signal, pair in matched_layers(teacher).items():
            kd = {**kd, signal: {"weight": 0.1, "layer_map": [[*pair]], "distance": "kl"}}
        name = f"{'pkd' if 'cls' in kd else 'kd'}-attention-{n_layers}"
        comment = "and attention maps of the last layer"
        students.append(Student(name, comment, _student(model, kd)))
    return students


def _taught(kind: Kind, *, labels_are_few: bool) -> dict[str, Any]:
    """Return the objectives that match the teacher's predictions, and labels that are not few.

    Few labels among many texts would be learned by heart beside what the teacher says of all.
    """
    weight = 1.0 if labels_are_few else 0.5
    labels = {} if labels_are_few else {"hard_label": {"weight": weight}}
    if TASKS[kind].predicts_numbers:
        return {**labels, "logit_match": {"weight": weight}}
    # Of word pieces the store has the likeliest, which are exact at temperature 1.
    temperature = 1.0 if TASKS[kind].predicts == "piece" else _TEMPERATURE
    return {**labels, "soft_target": {"weight": weight, "temperature": temperature}}


def _student(
    model: Mapping[str, Any],
    objectives: Mapping[str, Any],
    training: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    settings: dict[str, Any] = {"model": dict(model), "objectives": dict(objectives)}
    return settings | ({"training": dict(training)} if training else {})
