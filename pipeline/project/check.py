"""params.yaml as a whole: every section's own rules, and those between sections."""

import re
from typing import Any

from pipeline.core.checkpoint import find_checkpoint, load_tokenizer
from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.core.runtime import RuntimeSettings
from pipeline.core.settings import Section, faults_at, parse_section, unknown_key
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.export.settings import ExportSettings
from pipeline.metrics.scores import metric_faults
from pipeline.models.architecture import Architecture, read_architecture
from pipeline.project.checkpoints import checkpoint_faults, is_local
from pipeline.signals.cls import with_moments
from pipeline.signals.models import Models, StudentShape
from pipeline.student.network_settings import STUDENTS
from pipeline.student.settings import ModelSettings, TransformerSettings
from pipeline.tasks import TASKS
from pipeline.tasks.data_faults import data_faults, tag_faults
from pipeline.tasks.task import Task, TaskSettings
from pipeline.teacher.architecture import why_not_teacher, with_vocabulary
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.generation_settings import GenerationSettings
from pipeline.text.augment import AugmentationSettings
from pipeline.text.corpus import DataSettings
from pipeline.text.tokenise import TokenizerSettings
from pipeline.train.settings import TrainingSettings, check_batches
from pipeline.train.student import Student, place_of, read_student

SECTIONS: dict[str, type[Section]] = {
    "data": DataSettings,
    "task": TaskSettings,
    "tokenizer": TokenizerSettings,
    "augmentation": AugmentationSettings,
    "teacher": TeacherSettings,
    "generation": GenerationSettings,
    "capture": CaptureSettings,
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
    "export": ExportSettings,
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
    faults += _task_faults(sections)
    teacher, teacher_faults = _teacher_architecture(sections)
    faults += teacher_faults
    students = params.get("students")
    if not isinstance(students, dict) or not students:
        faults.append("students: name at least one student")
    else:
        for name in students:
            faults += _student_faults(name, params, sections, teacher)
        faults += _export_faults(sections, students)
    faults += checkpoint_faults(sections, students)
    capture = sections.get("capture")
    if isinstance(capture, CaptureSettings) and teacher is not None:
        faults += capture.signals.faults(_task(sections), teacher)
    if faults:  # those of the section `training` come once, not once a student
        raise SettingsError(*(f"params.yaml: {fault}" for fault in dict.fromkeys(faults)))


def _task_faults(sections: dict[str, Section]) -> list[str]:
    """Return a line for each setting that does not go with the kind of task."""
    task, data = sections.get("task"), sections.get("data")
    if not isinstance(task, TaskSettings):
        return []
    faults = metric_faults(task)
    if isinstance(data, DataSettings):
        faults += data_faults(data, task.kind)
        faults += tag_faults(data, task)
    augmentation = sections.get("augmentation")
    why = TASKS[task.kind].not_varied
    if why and isinstance(augmentation, AugmentationSettings) and augmentation.n_copies:
        faults.append(f"augmentation.n_copies: {why}; set it to 0")
    generation = sections.get("generation")
    is_asked = isinstance(generation, GenerationSettings) and generation.splits
    if is_asked and not TASKS[task.kind].writes:
        faults.append(f"generation.splits: a {task.kind} writes no texts; set it to []")
    return faults


def _export_faults(sections: dict[str, Section], students: dict[Any, Any]) -> list[str]:
    """Return a line for each student that is to be exported and is none, or cannot be."""
    export, task = sections.get("export"), sections.get("task")
    if not isinstance(export, ExportSettings):
        return []
    if (
        export.students
        and isinstance(task, TaskSettings)
        and (why := TASKS[task.kind].not_exported)
    ):
        return [f"export.students: {why}, and leave this list empty"]
    return [
        f"export.students: there is no student '{name}'; add it under students, or take it out here"
        for name in export.students
        if name not in students
    ]


def _student_faults(
    name: Any,
    params: dict[str, Any],
    sections: dict[str, Section],
    teacher: Architecture | None,
) -> list[str]:
    place = place_of(name)
    faults = []
    if not isinstance(name, str):
        faults.append(f"{place}: a student's name is text; write it in quotes")
    if not _STUDENT_NAME.fullmatch(str(name)):
        faults.append(f"{place}: a student's name is made of letters, digits, '-' and '_'")
    student, own_faults = read_student(params, name)
    faults += own_faults
    if student is None:
        return faults
    settings, runtime = student.settings, sections.get("runtime")
    n_processes = runtime.processes if isinstance(runtime, RuntimeSettings) else 1
    try:
        with faults_at(place):
            check_batches(settings.objectives, student.training, n_processes=n_processes)
    except SettingsError as error:
        faults += error.faults
    augmentation = sections.get("augmentation")
    is_off = isinstance(augmentation, AugmentationSettings) and not augmentation.n_copies
    if settings.augmented and is_off:
        faults.append(
            f"{place}.augmented: there are no augmented rows, because augmentation.n_copies is 0; "
            "raise it, or set this to false"
        )
    generation = sections.get("generation")
    is_unwritten = isinstance(generation, GenerationSettings) and "train" not in generation.splits
    if settings.targets != "data" and is_unwritten:
        faults.append(
            f"{place}.targets: '{settings.targets}' needs the teacher's own texts of the training "
            "rows; add train to generation.splits, or set this to data"
        )
    return faults if teacher is None else faults + _comparison_faults(student, sections, teacher)


def _comparison_faults(
    student: Student, sections: dict[str, Section], teacher: Architecture
) -> list[str]:
    """Return a line for each thing that a student cannot be compared by with this teacher."""
    place, model, capture = student.place, student.model, sections.get("capture")
    task = _task(sections)
    captured = capture.signals.arrays(task) if isinstance(capture, CaptureSettings) else {}
    faults = _missing_weights(place, model, capture)
    try:
        shape = _shape(model, sections, teacher)
    except SettingsError as error:
        return [*faults, *(f"{place}.model.{fault}" for fault in error.faults)]
    if shape is None:
        return faults
    if task.not_retokenised and not shape.reads_teacher_tokens:
        faults.append(f"{place}.model.checkpoint: {task.not_retokenised}")
    models = Models(shape, teacher, task, frozenset(captured))
    faults += [f"{place}.model.{fault}" for fault in models.head_faults()]
    for objective, settings in student.settings.objectives.chosen():
        at = f"{place}.objectives.{objective}"
        try:
            needs = settings.needs(models)
        except SettingsError as error:
            faults += [f"{at}: {fault}" for fault in error.faults]
            continue
        if isinstance(capture, CaptureSettings):
            held_arrays = with_moments(captured)
            missing = sorted(array.name for array in needs.teacher if array not in held_arrays)
            if missing:
                held = ", ".join(array.name for array in captured)
                faults.append(
                    f"{at} needs {', '.join(missing)}, but capture.signals asks only for {held}; "
                    "add them there"
                )
    return faults


def _task(sections: dict[str, Section]) -> Task:
    """Return the task; where its section is faulty, the default one."""
    settings = sections.get("task")
    return TASKS[settings.kind if isinstance(settings, TaskSettings) else TaskSettings().kind]


def _missing_weights(place: str, model: ModelSettings, capture: Section | None) -> list[str]:
    """Return a line where a student starts from weights that the store will not have."""
    if not isinstance(capture, CaptureSettings) or capture.warm_start:
        return []
    if not model.reads_teacher_weights:
        return []
    start = "embeddings" if model.architecture in STUDENTS else "warm_start"
    other = "random" if start == "embeddings" else "none"
    return [
        f"{place}.model.{start}: starts from the teacher's weights, which the store does not have "
        f"with capture.warm_start: false; set that to true, or {start} to {other}"
    ]


def _shape(
    model: ModelSettings, sections: dict[str, Section], teacher: Architecture
) -> StudentShape | None:
    """Return what of a student can be compared, where that can be read without a download."""
    checkpoint = model.checkpoint if isinstance(model, TransformerSettings) else None
    tokenizer = sections.get("tokenizer")
    digest = ""
    try:
        if checkpoint is not None:
            if not isinstance(tokenizer, TokenizerSettings) or not (
                is_local(checkpoint) and is_local(tokenizer.checkpoint)
            ):
                return None
            digest = digest_tokenizer(load_tokenizer(find_checkpoint(tokenizer.checkpoint)))
        return model.shape(teacher, digest)
    except CheckpointError:
        return None  # the stage that reads the checkpoint says what is wrong with it


def _teacher_architecture(
    sections: dict[str, Section],
) -> tuple[Architecture | None, list[str]]:
    """Return the teacher's architecture where it can be read without a download, and its faults."""
    settings = sections.get("teacher")
    if not isinstance(settings, TeacherSettings):
        return None, []
    name, task = settings.described_by, _task(sections)
    try:
        if not is_local(name):
            return None, []
        checkpoint = find_checkpoint(name)
        architecture = read_architecture(checkpoint)
        if why := why_not_teacher(architecture, task):
            return None, [f"teacher.{'store' if settings.store else 'checkpoint'}: {name}: {why}"]
        return with_vocabulary(architecture, checkpoint, task), []
    except CheckpointError:
        return None, []  # the stage that reads the checkpoint says what is wrong with it
