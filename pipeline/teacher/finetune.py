"""A teacher for the task: a checkpoint fine-tuned by Transformers' `Trainer`, or as it is."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from pipeline.core.atomic import replacing_folder, write_json
from pipeline.core.errors import DataError
from pipeline.core.stamp import METRICS_NAME, stamp_in
from pipeline.metrics import METRICS
from pipeline.metrics.score import score_split
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.task import Task
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.labelled_examples import (
    KEPT_TO_JUDGE,
    LOSSES,
    Collator,
    LabelledExamples,
)
from pipeline.teacher.load import check_order, load_matching_tokenizer, load_teacher
from pipeline.text.tokens import Tokens


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

    The weights are those that did best on validation among several moments of training.
    The folder appears when all is done and carries `inputs`, the digests of what it
    was made from. Returns the metrics.

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
        trainer = _make_trainer(
            model,
            tokenizer,
            tokens.labels,
            examples,
            task,
            settings,
            scratch,
            device,
        )
        if settings.epochs:
            trainer.train()
        scores = trainer.evaluate(metric_key_prefix="validation")
        metrics = {
            "n_rows": len(examples["validation"]),
            "validation": {
                name: scores[f"validation_{name}"]
                for name in (*task.metrics, "loss")
                if f"validation_{name}" in scores  # else it needs texts, which nobody wrote
            },
        }
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / METRICS_NAME, metrics)
        stamp_in(folder).write(inputs)
    return metrics


def _make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    examples: Mapping[str, LabelledExamples],
    task: Task,
    settings: TeacherSettings,
    scratch: str,
    device: torch.device,
) -> Trainer:
    return Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=scratch,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=4 * settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup_share,
            bf16=device.type == "cuda",
            use_cpu=device.type == "cpu",
            dataloader_pin_memory=device.type == "cuda",
            eval_strategy="steps",
            eval_steps=_validation_steps(len(examples["train"]), settings),
            save_strategy="best",
            save_only_model=True,
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model=task.primary_metric,
            greater_is_better=METRICS[task.primary_metric].is_larger_better,
            logging_steps=0.1,
            report_to="none",
            label_names=["labels"],
            remove_unused_columns=False,
            seed=settings.seed,
        ),
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        data_collator=Collator(task, tokenizer),
        compute_loss_func=LOSSES.get(task.predicts),
        preprocess_logits_for_metrics=KEPT_TO_JUDGE.get(task.predicts),
        compute_metrics=partial(_score, task, labels, examples["validation"]),
    )


def _validation_steps(n_rows: int, settings: TeacherSettings) -> int:
    """Return after how many updates, each time, the teacher is validated."""
    steps_per_epoch = math.ceil(n_rows / settings.batch_size)
    return max(1, steps_per_epoch // settings.validations_per_epoch)


def _score(
    task: Task, names: Sequence[str], examples: LabelledExamples, prediction: EvalPrediction
) -> dict[str, float]:
    """Return the task's metrics of what `Trainer` predicts of the labelled examples."""
    assert isinstance(prediction.predictions, np.ndarray)
    flat = examples.flat(prediction.predictions)
    if task.predicts == "piece":
        right, first = flat.T
        said = PiecePredictions(right, first.astype(np.int64))
        return score_split(task, names, said, examples.split)
    return score_split(task, names, flat, examples.split)
