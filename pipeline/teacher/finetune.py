"""A teacher for the task: a checkpoint fine-tuned by Transformers' `Trainer`, or as it is."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from torch.utils.data import Dataset
from transformers import (
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from pipeline.atomic import replacing_folder, write_json
from pipeline.errors import DataError
from pipeline.made_from import write_record
from pipeline.tasks.task import Task
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.text.tokens import UNLABELLED, Tokens, TokenSplit

METRICS_NAME = "metrics.json"


class _Rows(Dataset[dict[str, Any]]):
    """The labelled rows of a split, as `Trainer` wants them."""

    def __init__(self, split: TokenSplit, tokenizer: PreTrainedTokenizerFast) -> None:
        self._split = split
        self._positions = np.flatnonzero(split.labels != UNLABELLED)
        self._has_token_types = "token_type_ids" in tokenizer.model_input_names

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        position = self._positions[index]
        ids, type_ids = self._split.row(position)
        row = {"input_ids": ids.tolist(), "labels": int(self._split.labels[position])}
        if self._has_token_types:
            row["token_type_ids"] = type_ids.tolist()
        return row


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
        CheckpointError: the checkpoint does not fit the task or the tokenizer.
        DataError: there are no labelled rows to train or validate on.
    """
    tokenizer = load_matching_tokenizer(checkpoint, tokens)
    torch.manual_seed(settings.seed)  # a new head is drawn when the model is loaded
    model = load_teacher(checkpoint, task, tokens.labels, needs_head=settings.epochs == 0)
    rows = {split: _Rows(tokens.splits[split], tokenizer) for split in ("train", "validation")}
    for split in ("train", "validation") if settings.epochs else ("validation",):
        if not len(rows[split]):
            raise DataError(
                f"the {split} split has no labelled row; a teacher cannot be fine-tuned or "
                "judged without. Check data.columns.label."
            )
    with replacing_folder(teacher_dir) as folder, tempfile.TemporaryDirectory() as scratch:
        trainer = _make_trainer(model, tokenizer, rows, settings, scratch, device)
        if settings.epochs:
            trainer.train()
        scores = trainer.evaluate(metric_key_prefix="validation")
        metrics = {
            "n_rows": len(rows["validation"]),
            "validation": {
                name: scores[f"validation_{name}"] for name in ("accuracy", "macro_f1", "loss")
            },
        }
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / METRICS_NAME, metrics)
        write_record(folder, inputs)
    return metrics


def _make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Mapping[str, _Rows],
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
            eval_steps=_validation_steps(len(rows["train"]), settings),
            save_strategy="best",
            save_only_model=True,
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            logging_steps=0.1,
            report_to="none",
            seed=settings.seed,
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_score,
    )


def _validation_steps(n_rows: int, settings: TeacherSettings) -> int:
    """Return after how many updates, each time, the teacher is validated."""
    steps_per_epoch = math.ceil(n_rows / settings.batch_size)
    return max(1, steps_per_epoch // settings.validations_per_epoch)


def _score(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = _arrays(prediction)
    predicted = logits.argmax(-1)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro")),
    }


def _arrays(prediction: EvalPrediction) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    logits, labels = prediction.predictions, prediction.label_ids
    assert isinstance(logits, np.ndarray) and isinstance(labels, np.ndarray)
    return logits, labels
