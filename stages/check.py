"""params.yaml as a whole: every section's own rules, and those between sections."""

import re
from pathlib import Path
from typing import Any

from pipeline.architecture import Architecture, read_architecture
from pipeline.checkpoint import BUNDLED, find_checkpoint
from pipeline.errors import CheckpointError, SettingsError
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.objectives.objective import Depths
from pipeline.runtime import RuntimeSettings
from pipeline.settings import Section, parse_section, unknown_key
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.text.corpus import DataSettings
from pipeline.text.tokenise import TokenizerSettings
from pipeline.train.settings import StudentSettings, TrainingSettings, training_of

SECTIONS: dict[str, type[Section]] = {
    "data": DataSettings,
    "task": TaskSettings,
    "tokenizer": TokenizerSettings,
    "teacher": TeacherSettings,
    "capture": CaptureSettings,
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
    "runtime": RuntimeSettings,
}

# Names become DVC stage names and file names.
_STUDENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_params(params: dict[str, Any]) -> None:
    """Check every section and what they ask of each other.

    Raises:
        SettingsError: with one line for each fault.
    """
    known = [*SECTIONS, "students"]
    faults = [unknown_key("", str(key), known) for key in params if key not in known]
    sections: dict[str, Section] = {}
    for name, model in SECTIONS.items():
        try:
            sections[name] = parse_section(model, params.get(name), name)
        except SettingsError as error:
            faults += error.faults
    teacher = _teacher_architecture(sections)
    students = params.get("students")
    if not isinstance(students, dict) or not students:
        faults.append("students: name at least one student")
    else:
        for name, value in students.items():
            if not isinstance(name, str):
                faults.append(f"students.{name}: a student's name is text; write it in quotes")
            faults += _student_faults(str(name), value, params, sections, teacher)
    capture = sections.get("capture")
    if isinstance(capture, CaptureSettings) and teacher is not None:
        faults += capture.signals.layer_faults(teacher)
    if faults:
        raise SettingsError([f"params.yaml: {fault}" for fault in faults])


def _student_faults(
    name: str,
    value: Any,
    params: dict[str, Any],
    sections: dict[str, Section],
    teacher: Architecture | None,
) -> list[str]:
    place = f"students.{name}"
    faults = []
    if not _STUDENT_NAME.fullmatch(name):
        faults.append(f"{place}: a student's name is made of letters, digits, '-' and '_'")
    try:
        student = parse_section(StudentSettings, value, place)
    except SettingsError as error:
        return [*faults, *error.faults]
    if "training" in sections:
        try:
            training_of(params, student, place)
        except SettingsError as error:
            faults += error.faults
    if teacher is None:
        return faults
    n_layers = student.model.n_layers
    try:
        student.model.teacher_layers(teacher.n_layers)
    except SettingsError as error:
        faults += [f"{place}.model.{fault}" for fault in error.faults]
    capture = sections.get("capture")
    for objective, settings in student.objectives.chosen():
        at = f"{place}.objectives.{objective}"
        try:
            needs = settings.needs(Depths(student=n_layers, teacher=teacher.n_layers))
        except SettingsError as error:
            faults += [f"{at}: {fault}" for fault in error.faults]
            continue
        if isinstance(capture, CaptureSettings):
            captured = capture.signals.arrays()
            missing = sorted(array.name for array in needs.teacher if array not in captured)
            if missing:
                held = ", ".join(array.name for array in captured)
                faults.append(
                    f"{at} needs {', '.join(missing)}, but capture.signals asks only for {held}; "
                    "add them there"
                )
    return faults


def _teacher_architecture(sections: dict[str, Section]) -> Architecture | None:
    """Return the teacher's architecture where it can be read without a download."""
    settings = sections.get("teacher")
    if not isinstance(settings, TeacherSettings):
        return None
    name = settings.checkpoint
    is_local = name == BUNDLED or Path(name).is_dir()
    try:
        return read_architecture(find_checkpoint(name)) if is_local else None
    except CheckpointError:
        return None  # the stage that reads the checkpoint says what is wrong with it
