"""Train one student from a store: the whole of stage two, without the teacher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from dvclive.live import Live
from numpy.typing import NDArray
from scmrepo.exceptions import SCMError
from tqdm import tqdm

from pipeline.atomic import replacing_folder
from pipeline.checkpoint import load_tokenizer
from pipeline.errors import DataError
from pipeline.made_from import write_record
from pipeline.objectives.objective import Depths
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.store.view import View, check_view
from pipeline.student.transformer import build_student
from pipeline.tasks.task import Task
from pipeline.text.tokens import UNLABELLED, Tokens
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import autocast, count_steps, train
from pipeline.train.model_card import write_model_card
from pipeline.train.predict import predict
from pipeline.train.settings import StudentSettings, TrainingSettings

Judge = Callable[[NDArray[np.floating], NDArray[np.int64]], dict[str, float]]
"""Scores by name from logits (row, label) and labels (row,)."""

_CURVE_POINTS = 200


@dataclass(frozen=True)
class TrainedStudent:
    """The outcome of one training."""

    best_step: int
    n_steps: int
    scores: dict[str, float]
    """On validation, of the weights that were kept."""


def distill(
    name: str,
    view: View,
    store_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: StudentSettings,
    training: TrainingSettings,
    student_dir: Path,
    *,
    judge: Judge,
    inputs: Mapping[str, str],
    device: torch.device,
) -> TrainedStudent:
    """Train the student called `name` and write its best checkpoint to `student_dir`.

    The folder appears when all is done: a Transformers checkpoint with tokenizer, model
    card, learning curves and `inputs`, the digests of what it was made from.

    Raises:
        StoreMismatchError: the view belongs to another token table.
        StoreIncompleteError: rows, signals or layers are missing.
        DataError: there is no labelled validation row to choose the best weights by.
        TrainingError: the loss is no longer a number.
    """
    check_view(view, tokens, store_dir)
    store = TeacherStore(store_dir, view.manifest)
    tokenizer = load_tokenizer(store_dir / TEACHER_FOLDER)
    has_token_types = "token_type_ids" in tokenizer.model_input_names
    torch.manual_seed(training.seed)
    student = build_student(settings.model, view.manifest, store_dir, task)
    depths = Depths(student=settings.model.n_layers, teacher=view.manifest.teacher.n_layers)
    objective = WeightedSum(settings.objectives, depths)
    needs = settings.objectives.needs(depths)
    pad_id = int(student.config.pad_token_id or 0)
    rows = JoinedSplit(
        tokens.splits["train"], store, needs, pad_id=pad_id, has_token_types=has_token_types
    )
    validation = tokens.splits["validation"]
    if not (validation.labels != UNLABELLED).any():
        raise DataError("the validation split has no labelled row to choose the best student by")

    best = TrainedStudent(best_step=0, n_steps=0, scores={task.primary_metric: -1.0})
    n_without_gain = 0
    with replacing_folder(student_dir) as folder:
        reports = train(student, objective, needs, rows, training, device)
        with (
            _open_curves(folder) as live,
            tqdm(reports, f"distill {name}", count_steps(rows, training)) as progress,
        ):
            for report in progress:
                progress.set_postfix(loss=f"{report.loss:.4f}", refresh=False)
                live.step = report.step
                if report.step % max(1, report.n_steps // _CURVE_POINTS) == 0:
                    live.log_metric("train/loss", report.loss)
                    live.log_metric("train/learning_rate", report.learning_rate)
                    for term, value in report.terms.items():
                        live.log_metric(f"train/{term}", value)
                if not report.is_validation_due:
                    continue
                with autocast(training, device):
                    logits = predict(student, validation, pad_id, has_token_types=has_token_types)
                scores = judge(logits, validation.labels)
                for metric, value in scores.items():
                    live.log_metric(f"validation/{metric}", value)
                n_without_gain += 1
                if scores[task.primary_metric] > best.scores[task.primary_metric]:
                    best = TrainedStudent(report.step, report.n_steps, scores)
                    student.save_pretrained(folder)
                    n_without_gain = 0
                if training.patience is not None and n_without_gain >= training.patience:
                    break
        tokenizer.save_pretrained(folder)
        write_model_card(folder, name, view.manifest, settings, training, best.scores)
        write_record(folder, inputs)
    return best


def _open_curves(folder: Path) -> Live:
    try:
        return Live(str(folder / "curves"), save_dvc_exp=False, dvcyaml=None)
    except SCMError as error:
        raise DataError(
            f"DVCLive cannot read this git repository: {error}. Make a first commit "
            "(git add . && git commit) and run the stage again."
        ) from error
