"""The checkpoints that params.yaml names, held against its tokenizer and settings.

Configs, tokenizers and headers of weights are read, no weight is. Only folders are looked at: a
checkpoint of the Hub is not known before the stage that downloads it. Torch is imported only where
what is plainly right does not settle it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.checkpoint import BUNDLED, find_checkpoint, read_config
from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.core.settings import Section
from pipeline.core.weights import Shape, read_shapes
from pipeline.models.architecture import load_config, read_architecture
from pipeline.models.checkpoint_config import check_config, names_of_head
from pipeline.models.head import load_on_meta
from pipeline.models.limits import (
    more_ids,
    more_positions,
    more_types,
    most_tokens,
    n_token_ids,
    n_token_types,
)
from pipeline.models.plain_encoders import plain_limits
from pipeline.models.tensor_faults import tensor_fault
from pipeline.project.tokenizer_files import highest_token_id, highest_type_of_pair, is_same
from pipeline.student.model import model_of
from pipeline.student.settings import TransformerSettings
from pipeline.tasks import TASKS
from pipeline.tasks.task import Task, TaskSettings
from pipeline.teacher.architecture import why_not_teacher
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.stored_teacher import has_weights
from pipeline.text.corpus import DataSettings
from pipeline.text.tokenise import TokenizerSettings

_HEADS = ("classifier.", "score.")
"""What the heads of all supported classifiers are called."""


@dataclass(frozen=True)
class _Named:
    """A checkpoint that params.yaml names, and what it is to read."""

    place: str
    """Where params.yaml names it."""
    name: str
    task: Task
    tokenizer: Path | None = None
    """That of its rows; None: its own."""
    longest: int | None = None
    """Tokens of the longest row; None where rows are cut to what the model can read."""
    has_pairs: bool = False
    is_without_weights: bool = False
    is_teacher: bool = False
    is_as_it_is: bool = False
    """Whether its head is used without training."""


def checkpoint_faults(sections: Mapping[str, Section], students: Any) -> list[str]:
    """Return a line for each checkpoint that is not what it says or cannot read the rows.

    `sections` are those of params.yaml that have no fault; `students` is as it stands there.
    """
    tokenizer, task = sections.get("tokenizer"), sections.get("task")
    if not isinstance(tokenizer, TokenizerSettings) or not isinstance(task, TaskSettings):
        return []
    faults = []
    try:
        own = find_checkpoint(tokenizer.checkpoint) if is_local(tokenizer.checkpoint) else None
    except CheckpointError as error:
        return [f"tokenizer.checkpoint: {error}"]
    data = sections.get("data")
    rows = _Named(
        place="",
        name="",
        task=TASKS[task.kind],
        tokenizer=own,
        longest=tokenizer.max_length,
        has_pairs=isinstance(data, DataSettings) and _has_pairs(data, TASKS[task.kind]),
    )
    for named in (*_teachers(sections, rows), *_students(students, rows)):
        try:
            faults += [f"{named.place}: {fault}" for fault in _faults(named)]
        except CheckpointError as error:
            faults.append(f"{named.place}: {error}")
    return faults


def is_local(checkpoint: str) -> bool:
    """Say whether a checkpoint can be read without a download."""
    return checkpoint == BUNDLED or Path(checkpoint).is_dir()


def _has_pairs(data: DataSettings, task: Task) -> bool:
    return "question" in task.columns or bool(data.columns.text_pair)


def _teachers(sections: Mapping[str, Section], rows: _Named) -> list[_Named]:
    """Return the teacher's checkpoint, and that of the store it is taken from."""
    settings = sections.get("teacher")
    if not isinstance(settings, TeacherSettings):
        return []
    named = []
    if settings.checkpoint is not None and is_local(settings.checkpoint):
        place = "teacher.checkpoint"
        teacher = replace(rows, place=place, name=settings.checkpoint, is_teacher=True)
        named.append(replace(teacher, is_as_it_is=settings.epochs == 0))
    if settings.store is not None and is_local(settings.described_by):
        is_without = not has_weights(Path(settings.described_by))
        named.append(
            replace(
                rows,
                place="teacher.store",
                name=settings.described_by,
                is_teacher=True,
                is_without_weights=is_without,
            )
        )
    return named


def _students(students: Any, rows: _Named) -> list[_Named]:
    """Return the checkpoints that are students; those whose settings have faults are left out."""
    named = []
    for name, value in students.items() if isinstance(students, dict) else ():
        if not isinstance(value, dict) or not isinstance(value.get("model"), dict):
            continue
        try:
            model = model_of(value["model"], f"students.{name}")
        except SettingsError:
            continue
        checkpoint = model.checkpoint if isinstance(model, TransformerSettings) else None
        if checkpoint is not None and is_local(checkpoint):
            place = f"students.{name}.model.checkpoint"
            named.append(replace(rows, place=place, name=checkpoint))
    return named


def _faults(named: _Named) -> list[str]:
    """Return what is wrong with a checkpoint, and what to do.

    Raises:
        CheckpointError: it cannot be read as far as that.
    """
    folder = find_checkpoint(named.name)
    check_config(folder)
    config = read_config(folder)
    shapes = {} if named.is_without_weights else read_shapes(folder)
    described: Any = plain_limits(config, shapes)
    if described is None:
        if why_not_teacher(read_architecture(folder), named.task):
            return []  # said where teacher and student are compared
        described = load_config(folder)
        if shapes and (fault := tensor_fault(*load_on_meta(folder, named.task, shapes))):
            return [f"{named.name} {fault}"]
    has_names = named.is_as_it_is or (named.is_teacher and _has_head(shapes))
    if has_names and named.task.has_label_names:
        names_of_head(folder)
    return _unreadable(named, folder, described)


def _has_head(shapes: Mapping[str, Shape]) -> bool:
    return any(name.startswith(_HEADS) for name in shapes)


def _unreadable(named: _Named, folder: Path, config: Any) -> list[str]:
    """Return what of its rows a model of this config cannot read, and what to do."""
    tokenizer, longest = named.tokenizer or folder, named.longest
    if not is_same(folder, tokenizer):
        if named.is_teacher:
            return [
                f"{named.name} has another tokenizer than {tokenizer}. Set tokenizer.checkpoint to "
                "the teacher's checkpoint."
            ]
        tokenizer, longest = folder, None
    ids, types, most = n_token_ids(config), n_token_types(config), most_tokens(config)
    lines = []
    highest = highest_token_id(tokenizer, ids, with_mask=not named.task.writes)
    if highest >= ids:
        lines.append(more_ids(f"{named.name}: the tokenizer has token id {highest}", ids))
    if named.has_pairs and types == 1 and (highest := highest_type_of_pair(tokenizer)):
        found = f"{named.name}: of two texts, the second has tokens of type {highest}"
        lines.append(more_types(found, types))
    if longest is not None and most is not None and longest > most:
        lines.append(more_positions(f"{named.name}: tokenizer.max_length is {longest}", most))
    return lines
