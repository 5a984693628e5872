"""One student, distilled from a store with all that belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipeline.core.checkpoint import load_tokenizer
from pipeline.metrics.scores import Validated
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.models.predict import predict
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.store.view import View
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import Predictions
from pipeline.text.tokens import Tokens
from pipeline.train.distill import Judge, TrainedStudent, distill
from pipeline.train.parallel import make_accelerator
from pipeline.train.resume import ResumableTraining
from pipeline.train.student import StudentData, resolve_student

INPUTS = {"view": "0" * 64}
STUDENT: dict[str, Any] = {
    "model": {"n_layers": 2, "warm_start": "every"},
    "objectives": {
        "hard_label": {"weight": 0.5},
        "soft_target": {"weight": 0.5},
        "cls": {"layer_map": "skip"},
        "attentions": {"layer_map": "uniform"},
    },
}


def accuracy(predictions: Predictions) -> Validated:
    """Return the share of rows whose largest logit is their label's, and no loss."""
    is_right = predictions.logits.argmax(1) == predictions.labels
    return Validated({"accuracy": float(is_right.mean())}, 0.0)


@dataclass
class Judgement:
    """A judge that gives the scores it is told, and keeps the logits it was shown."""

    scores: Sequence[float]
    """After the last one, Ctrl-C comes."""
    losses: Sequence[float] | None = None
    """0 where there are none."""
    logits: list[NDArray[np.floating]] = field(default_factory=list)

    def __call__(self, predictions: Predictions) -> Validated:
        number = len(self.logits)
        self.logits.append(predictions.logits)
        if number >= len(self.scores):
            raise KeyboardInterrupt
        loss = 0.0 if self.losses is None else self.losses[number]
        return Validated({"accuracy": self.scores[number]}, loss)


@dataclass(frozen=True)
class Bench:
    """Distils a small student from the stored signals."""

    store: Path
    tokens: Tokens

    def view(self, student: dict[str, Any] = STUDENT) -> View:
        """Return what a student reads, as the select stage finds it."""
        return resolve_student({"students": {"a": student}}, "a").view(self.store, self.tokens)

    def predict(self, model: PreTrainedModel) -> Predictions:
        """Return what a model predicts for the validation rows."""
        tokenizer = load_tokenizer(self.store / TEACHER_FOLDER)
        rows = ModelRows(
            self.tokens.splits["validation"], tokenizer, Inputs(0, has_token_types=True)
        )
        return predict(model, rows, TASKS["classification"], self.tokens.labels)

    def run(
        self,
        folder: Path,
        *,
        student: dict[str, Any] = STUDENT,
        judge: Judge = accuracy,
        tokens: Tokens | None = None,
        view: View | None = None,
        **training: Any,
    ) -> TrainedStudent:
        """Train a student, four updates an epoch, and write it to `folder`."""
        options = {"batch_size": 15, "epochs": 2, "learning_rate": 1e-3, **training}
        data = StudentData(
            view or self.view(student),
            self.store,
            tokens or self.tokens,
            TASKS["classification"],
        )
        return distill(
            resolve_student({"students": {"a": student}, "training": options}, "a"),
            data,
            folder,
            ResumableTraining(folder.parents[1] / "unfinished" / folder.name, INPUTS),
            judge,
            make_accelerator(torch.device("cpu")),
        )
