"""Train one student from a store: the whole of stage two, without the teacher."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copytree

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float
from transformers import PreTrainedModel

from pipeline.atomic import replacing_folder
from pipeline.checkpoint import load_tokenizer
from pipeline.errors import DataError, SettingsError, StoreMismatchError
from pipeline.made_from import write_record
from pipeline.metrics import METRICS
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.store.view import View, check_view
from pipeline.student.build import build_student
from pipeline.student.model import digest_start, models_of
from pipeline.student.positions import most_tokens
from pipeline.student.settings import ModelSettings
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.task import Task, Unit
from pipeline.text.retokenise import split_for
from pipeline.text.tokens import Tokens, TokenSplit
from pipeline.train.batches import JoinedSplit
from pipeline.train.curves import CURVES_NAME, Curves
from pipeline.train.loop import StepReport, train
from pipeline.train.model_card import write_model_card
from pipeline.train.precision import autocast
from pipeline.train.predict import predict, predict_pieces
from pipeline.train.progress import Progress
from pipeline.train.settings import StudentSettings, TrainingSettings, check_batches
from pipeline.train.state import Learner
from pipeline.train.unfinished import UnfinishedTraining

Said = Float[np.ndarray, "flat label"] | PiecePredictions
"""A model's logits for a split, or what it says of the pieces that the split asks for."""
Judge = Callable[[Said, TokenSplit], dict[str, float]]
"""Scores by name from what a model says of a split."""

_CURVE_POINTS = 200


@dataclass(frozen=True)
class TrainedStudent:
    """The outcome of a training, or of its beginning."""

    best_step: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    """On validation, of the weights that were kept; empty before the first validation."""
    n_without_gain: int = 0
    """Validations since the best step."""

    def judged(self, step: int, scores: dict[str, float], metric: str) -> "TrainedStudent":
        """Return the outcome after one more validation."""
        if not self.scores or METRICS[metric].is_better(scores[metric], self.scores[metric]):
            return TrainedStudent(best_step=step, scores=scores)
        return replace(self, n_without_gain=self.n_without_gain + 1)


def distill(
    name: str,
    view: View,
    store_dir: Path,
    tokens: Tokens,
    task: Task,
    model: ModelSettings,
    settings: StudentSettings,
    training: TrainingSettings,
    student_dir: Path,
    *,
    judge: Judge,
    inputs: Mapping[str, str],
    unfinished_dir: Path,
    seconds_between_saves: float,
    accelerator: Accelerator,
) -> TrainedStudent:
    """Train the student called `name` and write its best checkpoint to `student_dir`.

    The folder appears when all is done: a Transformers checkpoint with tokenizer, model
    card, learning curves and `inputs`, the digests of what it was made from. Until then
    the training is kept in `unfinished_dir`, from where another call with the same inputs
    goes on; the student is bit for bit that of one call (on a CPU).

    Raises:
        StoreMismatchError: the view belongs to another token table, or to another checkpoint.
        StoreIncompleteError: rows, signals or layers are missing.
        DataError: there is no labelled validation row to choose the best weights by, or no
            labelled training row to learn from; or rows are longer than the student can read.
        SettingsError: an objective cannot compare the student with the teacher, or needs
            batches that are not cut.
        TrainingError: the loss is no longer a number.
    """
    check_view(view, tokens, store_dir)
    store = TeacherStore(store_dir, view.manifest)
    others = {folder: TeacherStore(Path(folder), other) for folder, other in view.others.items()}
    _check_start(view, model, settings)
    own_tokenizer = model.tokenizer_folder()
    tokenizer = load_tokenizer(own_tokenizer or store_dir / TEACHER_FOLDER)
    has_token_types = "token_type_ids" in tokenizer.model_input_names
    is_main = accelerator.is_main_process
    if not tokens.splits["validation"].has_label.any():
        raise DataError("the validation split has no labelled row to choose the best student by")
    _check_labels(tokens, settings)
    models = models_of(model, view.manifest)
    needs = settings.objectives.needs(models)
    check_batches(settings.objectives, training, n_processes=accelerator.num_processes)
    torch.manual_seed(training.seed)
    started: list[str] = []
    student = build_student(model, view.manifest, store_dir, task, say=started.append)
    objective = WeightedSum(settings.objectives, models)
    most = most_tokens(student.config)
    train_rows, validation = (
        split_for(tokens, split, tokenizer, most_tokens=most, is_shown=is_main)
        for split in ("train", "validation")
    )
    pad_id = int(student.config.pad_token_id or 0)
    rows = JoinedSplit(
        tokens.splits["train"],
        store,
        needs,
        pad_id=pad_id,
        has_token_types=has_token_types,
        other_stores=others,
        student_split=train_rows,
    )
    n_steps = rows.count_batches(training) * training.epochs
    learner = Learner(student, objective, training, n_steps, accelerator.device)

    unfinished = UnfinishedTraining(unfinished_dir, inputs)
    outcome, points = TrainedStudent(), []
    state = unfinished.load()
    if state is not None:
        learner.load_state_dict(state["learner"])
        outcome, points = TrainedStudent(**state["outcome"]), state["points"]

    n_examples = rows.count_examples(training) * training.epochs
    n_done = learner.step * n_examples // n_steps
    saved_at = time.monotonic()
    with (
        closing(Curves(unfinished_dir / CURVES_NAME, points, is_written=is_main)) as curves,
        Progress(f"distill {name}", n_examples, n_done, is_shown=is_main) as progress,
    ):
        for line in started:
            progress.say(line)
        if learner.step:
            progress.say(f"goes on after step {learner.step:,} of {n_steps:,}")
        for report in train(learner, needs, rows, training, accelerator):
            progress.add(report)
            if report.step % max(1, n_steps // _CURVE_POINTS) == 0:
                curves.log(report.step, _training_point(report))
            if report.is_validation_due:
                said = _predict(
                    student,
                    validation,
                    task.predicts,
                    training,
                    accelerator,
                    has_token_types=has_token_types,
                )
                scores = judge(said, validation)
                curves.log(report.step, _validation_point(scores))
                outcome = outcome.judged(report.step, scores, task.primary_metric)
                if outcome.n_without_gain == training.patience:
                    break
            is_best = outcome.best_step == report.step
            if is_main and (is_best or time.monotonic() - saved_at >= seconds_between_saves):
                state = {
                    "learner": learner.state_dict(),
                    "outcome": asdict(outcome),
                    "points": curves.points,
                }
                if is_best:
                    unfinished.keep_best(student, report.step, state)
                else:
                    unfinished.save(state)
                saved_at = time.monotonic()
    if is_main:
        with replacing_folder(student_dir) as folder:
            copytree(unfinished.best_folder(outcome.best_step), folder, dirs_exist_ok=True)
            copytree(unfinished_dir / CURVES_NAME, folder / CURVES_NAME)
            tokenizer.save_pretrained(folder)
            write_model_card(
                folder, name, view.manifest, tokens, model, settings, training, outcome.scores
            )
            write_record(folder, inputs)
        unfinished.discard()
    accelerator.wait_for_everyone()
    return outcome


def _check_labels(tokens: Tokens, settings: StudentSettings) -> None:
    """Refuse training rows that teach nothing: without labels, where nothing else is matched."""
    matched = [name for name, _ in settings.objectives.chosen()]
    if matched == ["hard_label"] and not tokens.splits["train"].has_label.any():
        raise DataError(
            "the train split has no labelled row, and hard_label learns from nothing else. Add "
            "soft_target, or another objective that compares with the teacher, or label some rows."
        )


def _check_start(view: View, model: ModelSettings, settings: StudentSettings) -> None:
    """Refuse another checkpoint than the view's, and texts that its tokenizer would misread."""
    if digest_start(model) != view.checkpoint:
        raise StoreMismatchError(
            f"the checkpoint {model.started_from} has changed since the student's view was made. "
            "Run 'dvc repro --force' with the student's select stage, then 'dvc repro'."
        )
    shape = model.shape(view.manifest.teacher, view.manifest.identity.tokenizer)
    if settings.augmented and not shape.reads_teacher_tokens:
        raise SettingsError(
            [
                "augmented: its texts hold the mask token of the teacher's tokenizer, which the "
                "student's own would read as text; set it to false"
            ]
        )


def _predict(
    student: PreTrainedModel,
    split: TokenSplit,
    predicts: Unit,
    training: TrainingSettings,
    accelerator: Accelerator,
    *,
    has_token_types: bool,
) -> Said:
    """Return what the student says of a split, of which every process computes its share."""
    shares = {"rank": accelerator.process_index, "count": accelerator.num_processes}
    pad_id = int(student.config.pad_token_id or 0)
    if predicts == "piece":
        with autocast(training, accelerator.device):
            own = predict_pieces(student, split, pad_id, has_token_types=has_token_types, **shares)
        right, first = (
            accelerator.reduce(torch.from_numpy(part).to(accelerator.device), "sum").cpu().numpy()
            for part in (own.log_probabilities, own.predicted)
        )
        return PiecePredictions(right, first)
    with autocast(training, accelerator.device):
        logits = predict(
            student,
            split,
            pad_id,
            predicts=predicts,
            has_token_types=has_token_types,
            **shares,
        )
    shared = torch.from_numpy(logits).to(accelerator.device)
    whole: Float[np.ndarray, "flat label"] = accelerator.reduce(shared, "sum").cpu().numpy()
    return whole


def _training_point(report: StepReport) -> dict[str, float]:
    return {
        "train/loss": report.loss,
        "train/learning_rate": report.learning_rate,
        **{f"train/{term}": value for term, value in report.terms.items()},
    }


def _validation_point(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"validation/{metric}": value for metric, value in scores.items()}
