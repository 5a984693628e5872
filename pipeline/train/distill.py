"""Train one student from a store: the whole of stage two, without the teacher."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copytree

from accelerate import Accelerator

from pipeline.core.atomic import replacing_folder
from pipeline.core.stamp import stamp_in
from pipeline.metrics import METRICS
from pipeline.store.view import View
from pipeline.student.settings import ModelSettings
from pipeline.tasks.task import Task
from pipeline.text.tokens import Tokens, TokenSplit
from pipeline.train.beginning import begin
from pipeline.train.curves import CURVES_NAME, Curves
from pipeline.train.loop import StepReport, train
from pipeline.train.model_card import write_model_card
from pipeline.train.progress import Progress
from pipeline.train.settings import StudentSettings, TrainingSettings
from pipeline.train.unfinished import UnfinishedTraining
from pipeline.train.validation import Said, predict_shared

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
        TrainingError: the loss is no longer a number; and all that `begin` raises.
    """
    begun = begin(view, store_dir, tokens, task, model, settings, training, accelerator)
    learner, n_steps, is_main = begun.learner, begun.n_steps, accelerator.is_main_process
    unfinished = UnfinishedTraining(unfinished_dir, inputs)
    outcome, points = TrainedStudent(), []
    state = unfinished.load()
    if state is not None:
        learner.load_state_dict(state["learner"])
        outcome, points = TrainedStudent(**state["outcome"]), state["points"]

    n_examples = begun.rows.count_examples(training) * training.epochs
    n_done = learner.step * n_examples // n_steps
    saved_at = time.monotonic()
    with (
        closing(Curves(unfinished_dir / CURVES_NAME, points, is_written=is_main)) as curves,
        Progress(f"distill {name}", n_examples, n_done, is_shown=is_main) as progress,
    ):
        for line in begun.log:
            progress.say(line)
        if learner.step:
            progress.say(f"goes on after step {learner.step:,} of {n_steps:,}")
        for report in train(learner, begun.needs, begun.rows, training, accelerator):
            progress.add(report)
            if report.step % max(1, n_steps // _CURVE_POINTS) == 0:
                curves.log(report.step, _training_point(report))
            if report.is_validation_due:
                said = predict_shared(
                    begun.student,
                    begun.validation,
                    task.predicts,
                    training,
                    accelerator,
                    has_token_types=begun.has_token_types,
                )
                scores = judge(said, begun.validation)
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
                    unfinished.keep_best(begun.student, report.step, state)
                else:
                    unfinished.save(state)
                saved_at = time.monotonic()
    if is_main:
        with replacing_folder(student_dir) as folder:
            copytree(unfinished.best_folder(outcome.best_step), folder, dirs_exist_ok=True)
            copytree(unfinished_dir / CURVES_NAME, folder / CURVES_NAME)
            begun.tokenizer.save_pretrained(folder)
            write_model_card(
                folder, name, view.manifest, tokens, model, settings, training, outcome.scores
            )
            stamp_in(folder).write(inputs)
        unfinished.discard()
    accelerator.wait_for_everyone()
    return outcome


def _training_point(report: StepReport) -> dict[str, float]:
    return {
        "train/loss": report.loss,
        "train/learning_rate": report.learning_rate,
        **{f"train/{term}": value for term, value in report.terms.items()},
    }


def _validation_point(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"validation/{metric}": value for metric, value in scores.items()}
