"""Train one student from a store: the whole of stage two, without the teacher."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

from accelerate import Accelerator

from pipeline.core.atomic import replacing_folder, write_json
from pipeline.core.progress import Progress
from pipeline.core.stamp import METRICS_NAME, stamp_in
from pipeline.metrics.scores import Validated
from pipeline.tasks.predictions import Predictions
from pipeline.train.curves import CURVES_NAME, Curves
from pipeline.train.loop import StepReport, train
from pipeline.train.model_card import write_model_card
from pipeline.train.parallel import predict_shared
from pipeline.train.resume import ResumableTraining
from pipeline.train.setup import set_up
from pipeline.train.student import Student, StudentData

Judge = Callable[[Predictions], Validated]
"""Says how good a model is from its predictions for a split."""

_CURVE_POINTS = 200


@dataclass(frozen=True)
class TrainedStudent:
    """The outcome of a training, or of its beginning."""

    best_step: int = 0
    best: Validated | None = None
    """The validation of the weights that were kept; None before the first one."""
    n_without_gain: int = 0
    """Validations since the last one that was better than all before."""

    @property
    def scores(self) -> Mapping[str, float]:
        """The scores of the weights that were kept, by the name of the metric."""
        return {} if self.best is None else self.best.scores

    def judged(self, step: int, found: Validated, metric: str) -> "TrainedStudent":
        """Return the outcome after one more validation.

        Of equal ones the last is kept, and patience goes on counting.
        """
        if self.best is None or found.is_better(self.best, metric):
            return TrainedStudent(step, found)
        n_without_gain = self.n_without_gain + 1
        if found.is_equal(self.best, metric):
            return TrainedStudent(step, found, n_without_gain)
        return replace(self, n_without_gain=n_without_gain)

    def is_stopped(self, patience: int | None) -> bool:
        """Whether that many validations have passed without a better one; never for null."""
        return self.n_without_gain == patience

    def to_json(self) -> dict[str, Any]:
        """Return the form that the student's metrics file holds."""
        counts = {"best_step": self.best_step, "n_without_gain": self.n_without_gain}
        return counts if self.best is None else counts | self.best.to_json()

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> "TrainedStudent":
        """Return what `to_json` was made of."""
        best = Validated.from_json(form) if "validation" in form else None
        return cls(form["best_step"], best, form["n_without_gain"])


def distill(
    student: Student,
    data: StudentData,
    student_dir: Path,
    unfinished: ResumableTraining,
    judge: Judge,
    accelerator: Accelerator,
) -> TrainedStudent:
    """Train a student and write its best checkpoint to `student_dir`.

    The best is that of the best validation, as `Validated` compares them; of equal ones the
    last. The folder appears when all is done: a Transformers checkpoint with tokenizer, model
    card, learning curves, metrics and the stamp of what it was made from, the inputs of
    `unfinished`. Until then the training is kept there, from where another call with the same
    inputs goes on; the student is bit for bit that of one call (on a CPU).

    Raises:
        TrainingError: the loss is no longer a number; and all that `set_up` raises.
    """
    setup = set_up(student, data, accelerator)
    learner, n_steps, is_main = setup.learner, setup.n_steps, accelerator.is_main_process
    training, curves_dir = student.training, unfinished.folder / CURVES_NAME
    outcome, points = TrainedStudent(), []
    state = unfinished.load()
    if state is not None:
        learner.load_state_dict(state["learner"])
        outcome, points = TrainedStudent.from_json(state["outcome"]), state["points"]

    n_examples = setup.rows.count_examples(training) * training.epochs
    n_done = learner.step * n_examples // n_steps
    saved_at = time.monotonic()
    curves = Curves(curves_dir, points, is_written=is_main)
    with Progress(f"distill {student.name}", n_examples, n_done, is_shown=is_main) as progress:
        for line in setup.log:
            progress.say(line)
        if learner.step:
            progress.say(f"goes on after step {learner.step:,} of {n_steps:,}")
        reports = train(learner, setup.needs, setup.rows, training, accelerator)
        # A training that patience has ended may have been killed before the student was written.
        for report in () if outcome.is_stopped(training.patience) else reports:
            progress.add(
                report.n_examples,
                report.step,
                report.n_steps,
                {"loss": report.loss, **report.terms},
            )
            if report.step % max(1, n_steps // _CURVE_POINTS) == 0:
                curves.log(report.step, _training_point(report))
            if report.is_validation_due:
                found = judge(
                    predict_shared(
                        setup.student,
                        setup.validation,
                        data.task,
                        data.tokens.labels,
                        training,
                        accelerator,
                    )
                )
                curves.log(report.step, _validation_point(found))
                outcome = outcome.judged(report.step, found, data.task.primary_metric)
            is_best = outcome.best_step == report.step
            if is_main and (is_best or unfinished.is_due(saved_at)):
                state = {
                    "learner": learner.state_dict(),
                    "outcome": outcome.to_json(),
                    "points": curves.points,
                }
                if is_best:
                    unfinished.keep_best(setup.student, report.step, state)
                else:
                    unfinished.save(state)
                saved_at = time.monotonic()
            if report.is_validation_due and outcome.is_stopped(training.patience):
                break
    if is_main:
        with replacing_folder(student_dir) as folder:
            copytree(unfinished.best_folder(outcome.best_step), folder, dirs_exist_ok=True)
            copytree(curves_dir, folder / CURVES_NAME)
            setup.tokenizer.save_pretrained(folder)
            write_model_card(folder, student, data, outcome.scores)
            write_json(folder / METRICS_NAME, outcome.to_json())
            stamp_in(folder).write(unfinished.inputs)
        unfinished.discard()
    accelerator.wait_for_everyone()
    return outcome


def _training_point(report: StepReport) -> dict[str, float]:
    return {
        "train/loss": report.loss,
        "train/learning_rate": report.learning_rate,
        **{f"train/{term}": value for term, value in report.terms.items()},
    }


def _validation_point(found: Validated) -> dict[str, float]:
    values = {**found.scores, "loss": found.loss}
    return {f"validation/{name}": value for name, value in values.items()}
