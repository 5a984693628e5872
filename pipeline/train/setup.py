"""What a training begins with: student, rows and objectives, each fit for the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError, DataError, SettingsError, StoreMismatchError
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.models.limits import most_tokens, unreadable
from pipeline.objectives.needs import Needs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.store.view import View, check_view
from pipeline.student.build import build_student
from pipeline.student.model import digest_start
from pipeline.tasks.token_table import split_for
from pipeline.text.tokens import Tokens
from pipeline.train.batches import JoinedSplit
from pipeline.train.settings import check_batches
from pipeline.train.state import TrainState
from pipeline.train.student import Student, StudentData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Setup:
    """A training before its first step."""

    student: PreTrainedModel
    tokenizer: "PreTrainedTokenizerFast"
    """The student's own, or else the teacher's."""
    needs: Needs
    """What the objectives read."""
    rows: JoinedSplit
    """Those to train on, with the teacher's signals."""
    validation: ModelRows
    """As the student reads it."""
    learner: TrainState
    n_steps: int
    """Of the whole training."""
    log: tuple[str, ...]
    """Which of the teacher's tensors went where."""


def set_up(chosen: Student, data: StudentData, accelerator: Accelerator) -> Setup:
    """Build the chosen student and join its rows with the store's.

    Raises:
        StoreMismatchError: the view belongs to another token table, or to another checkpoint.
        StoreIncompleteError: rows, signals or layers are missing.
        CheckpointError: rows have token ids or types that the student has no embeddings of.
        DataError: there is no labelled validation row to choose the best weights by, or no
            labelled training row to learn from; or rows are longer than the student can read.
        SettingsError: an objective cannot compare the student with the teacher, or needs
            batches that are not cut.
    """
    view, store_dir, tokens = data.view, data.store_dir, data.tokens
    model, training = chosen.model, chosen.training
    check_view(view, tokens, store_dir)
    store = TeacherStore(store_dir, view.manifest)
    others = {folder: TeacherStore(Path(folder), other) for folder, other in view.others.items()}
    _check_start(view, chosen)
    _check_labels(tokens, chosen)
    tokenizer = load_tokenizer(model.tokenizer_folder() or store_dir / TEACHER_FOLDER)
    models = chosen.models(view.manifest)
    needs, objectives = chosen.needs(models), chosen.settings.objectives
    check_batches(objectives, training, n_processes=accelerator.num_processes)
    torch.manual_seed(training.seed)
    log: list[str] = []
    student = build_student(model, view.manifest, store_dir, data.task, say=log.append)
    inputs = Inputs.of(student.config, tokenizer)
    objective = WeightedSum(objectives, models)
    most, is_shown = most_tokens(student.config), accelerator.is_main_process
    train, validation = (
        split_for(tokens, data.task, split, tokenizer, most_tokens=most, is_shown=is_shown)
        for split in ("train", "validation")
    )
    read = {"train": train, "validation": validation}
    if fault := unreadable(student.config, read, has_token_types=inputs.has_token_types):
        raise CheckpointError(f"the student cannot read its rows: {fault}.")
    rows = JoinedSplit(
        tokens.splits["train"],
        store,
        needs,
        inputs,
        other_stores=others,
        student_split=train,
    )
    n_steps = rows.count_batches(training) * training.epochs
    return Setup(
        student=student,
        tokenizer=tokenizer,
        needs=needs,
        rows=rows,
        validation=ModelRows(validation, tokenizer, inputs),
        learner=TrainState(student, objective, training, n_steps, accelerator.device),
        n_steps=n_steps,
        log=tuple(log),
    )


def _check_labels(tokens: Tokens, chosen: Student) -> None:
    """Refuse a validation that judges nothing, and training rows that teach nothing."""
    if not tokens.splits["validation"].has_label.any():
        raise DataError("the validation split has no labelled row to choose the best student by")
    matched = [name for name, _ in chosen.settings.objectives.chosen()]
    if matched == ["hard_label"] and not tokens.splits["train"].has_label.any():
        raise DataError(
            "the train split has no labelled row, and hard_label learns from nothing else. Add "
            "soft_target, or another objective that compares with the teacher, or label some rows."
        )


def _check_start(view: View, chosen: Student) -> None:
    """Refuse another checkpoint than the view's, and texts that its tokenizer would misread."""
    model = chosen.model
    if digest_start(model) != view.checkpoint:
        raise StoreMismatchError(
            f"the checkpoint {model.started_from} has changed since the student's view was made. "
            "Run 'dvc repro --force' with the student's select stage, then 'dvc repro'."
        )
    shape = model.shape(view.manifest.teacher, view.manifest.identity.tokenizer)
    if chosen.settings.augmented and not shape.reads_teacher_tokens:
        raise SettingsError(
            "augmented: its texts hold the mask token of the teacher's tokenizer, which the "
            "student's own would read as text; set it to false"
        )
