"""A teacher for the task: a checkpoint fine-tuned by Transformers' `Trainer`, or as it is."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from pipeline.core.atomic import replacing_folder, write_json
from pipeline.core.errors import DataError
from pipeline.core.progress import Progress
from pipeline.core.stamp import METRICS_NAME, stamp_in
from pipeline.metrics.scores import Validated, validate
from pipeline.tasks.predictions import InVocabulary, predictions_of
from pipeline.tasks.task import Task
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.labelled_examples import Collator, LabelledExamples
from pipeline.teacher.load import check_order, load_matching_tokenizer, load_teacher
from pipeline.text.tokens import Tokens

_LARGEST_SHARE = 0.2
"""Share of the time of a fine-tuning that validations may take, but for the one at its end."""
_COST_OF_VALIDATION = 1 / 3
"""Of a token, in terms of its training: one forward beside a forward and a backward of two."""


def finetune(
    checkpoint: Path,
    tokens: Tokens,
    task: Task,
    settings: TeacherSettings,
    teacher_dir: Path,
    *,
    inputs: Mapping[str, str],
    device: torch.device,
) -> dict[str, Any]:
    """Write the teacher, its tokenizer and its validation metrics to `teacher_dir`.

    The weights are those of the best validation, as `Validated` compares them; of equal ones
    those of the last. The folder appears when all is done and carries `inputs`, the digests of
    what it was made from. Returns the metrics.

    Raises:
        CheckpointError: the checkpoint does not fit the task, the tokenizer or, where it is taken
            as it is, the labels.
        DataError: there are no labelled rows to train or validate on.
    """
    tokenizer = load_matching_tokenizer(checkpoint, tokens)
    torch.manual_seed(settings.seed)  # a new head is drawn when the model is loaded
    model = load_teacher(checkpoint, task, tokens.labels, needs_head=settings.epochs == 0)
    if settings.epochs == 0:
        check_order(checkpoint, tokens)
    examples = {
        split: LabelledExamples(tokens.splits[split], task) for split in ("train", "validation")
    }
    for split in ("train", "validation") if settings.epochs else ("validation",):
        if not len(examples[split]):
            raise DataError(
                f"the {split} split has no labelled row; a teacher cannot be fine-tuned or "
                "judged without. Check data.columns.label."
            )
    with replacing_folder(teacher_dir) as folder, tempfile.TemporaryDirectory() as scratch:
        judge = _Judge(task, tokens.labels, examples["validation"])
        trainer = Trainer(
            model=model,
            args=_arguments(examples, settings, scratch, device),
            train_dataset=examples["train"],
            eval_dataset=examples["validation"],
            data_collator=Collator(task, tokenizer),
            compute_loss_func=task.trainer_loss(),
            preprocess_logits_for_metrics=task.kept_logits(),
            compute_metrics=judge,
        )
        trainer.remove_callback(PrinterCallback)
        best = _BestWeights(judge, task.primary_metric, Path(scratch) / "best.pt")
        trainer.add_callback(best)
        if settings.epochs:
            n_examples = settings.epochs * len(examples["train"])
            with Progress("finetune", n_examples, 0, is_shown=True) as progress:
                trainer.add_callback(_Shown(progress, n_examples, task.primary_metric))
                trainer.train()
            best.restore(model)
        else:
            trainer.evaluate()
        assert best.found is not None, "the last step is validated"
        metrics = {
            "n_rows": len(examples["validation"]),
            "best_step": best.step,
            **best.found.to_json(),
        }
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / METRICS_NAME, metrics)
        stamp_in(folder).write(inputs)
    return metrics


def _arguments(
    examples: Mapping[str, LabelledExamples],
    settings: TeacherSettings,
    scratch: str,
    device: torch.device,
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=4 * settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_ratio,
        bf16=device.type == "cuda",
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        eval_strategy="steps",
        eval_steps=_steps_between_validations(examples, settings),
        save_strategy="no",  # `_BestWeights` keeps the best by more than one number
        logging_steps=0.1,
        disable_tqdm=True,  # `_Shown` has the only bar, on a terminal
        report_to="none",
        label_names=["labels"],
        remove_unused_columns=False,
        seed=settings.seed,
    )


def _steps_between_validations(
    examples: Mapping[str, LabelledExamples], settings: TeacherSettings
) -> int:
    """Return after how many updates, each time, the teacher is validated; also after the last.

    It follows from numbers of rows and tokens alone, so that two runs give one teacher.
    """
    n_steps = math.ceil(len(examples["train"]) / settings.batch_size) * settings.epochs
    training = settings.epochs * examples["train"].n_tokens
    validation = _COST_OF_VALIDATION * examples["validation"].n_tokens
    affordable = _LARGEST_SHARE / (1 - _LARGEST_SHARE) * training / validation
    n_validations = min(settings.validations_per_epoch * settings.epochs, int(affordable))
    return max(1, math.ceil(n_steps / max(1, n_validations)))


class _Judge:
    """Judges what `Trainer` predicts of the labelled validation examples."""

    def __init__(self, task: Task, names: tuple[str, ...], examples: LabelledExamples) -> None:
        self._task = task
        self._names = names
        self._examples = examples
        self.last: Validated | None = None

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return the task's metrics, and keep all that the validation gave as `last`."""
        assert isinstance(prediction.predictions, np.ndarray)
        flat, in_vocabulary = self._examples.flat(prediction.predictions), None
        if self._task.predicts == "piece":
            of_label, first = flat.T
            in_vocabulary = InVocabulary(of_label, first.astype(np.int64))
            flat = np.zeros((len(first), 0), np.float32)
        split = self._examples.split
        found = predictions_of(flat, split, self._task, self._names, in_vocabulary)
        self.last = validate(self._task, found)
        return dict(self.last.scores)


class _BestWeights(TrainerCallback):
    """Keeps the weights of the best validation, of equal ones those of the last.

    `Trainer` itself compares one number, and keeps the first of equal ones.
    """

    def __init__(self, judge: _Judge, metric: str, path: Path) -> None:
        self._judge = judge
        self._metric = metric
        self._path = path
        self.found: Validated | None = None
        self.step = 0

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Keep the weights where they are the best so far."""
        assert self._judge.last is not None
        found = replace(self._judge.last, loss=float(given["metrics"]["eval_loss"]))
        if self.found is not None and self.found.is_better(found, self._metric):
            return
        self.found, self.step = found, state.global_step
        if state.global_step < state.max_steps:
            torch.save(given["model"].state_dict(), self._path)
        else:
            self._path.unlink(missing_ok=True)

    def restore(self, model: PreTrainedModel) -> None:
        """Give the model its best weights; those of the last step it has."""
        if self._path.exists():
            state = torch.load(self._path, map_location="cpu", mmap=True, weights_only=True)
            model.load_state_dict(state)


class _Shown(TrainerCallback):
    """Shows the training as students' are shown, and a line for each validation."""

    def __init__(self, progress: Progress, n_examples: int, metric: str) -> None:
        self._progress = progress
        self._n_examples = n_examples
        self._n_done = 0
        self._metric = metric
        self._values: dict[str, float] = {}

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Take note of the mean loss since the last time."""
        if "loss" in given["logs"]:
            self._values = {"loss": given["logs"]["loss"]}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Show a step."""
        before = self._n_done
        self._n_done = self._n_examples * state.global_step // state.max_steps
        self._progress.add(self._n_done - before, state.global_step, state.max_steps, self._values)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Show a validation."""
        metrics = given["metrics"]
        self._progress.say(
            f"step {state.global_step:,} of {state.max_steps:,}: validation {self._metric} "
            f"{metrics[f'eval_{self._metric}']:.4f}, loss {metrics['eval_loss']:.4f}"
        )
