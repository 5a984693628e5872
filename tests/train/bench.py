"""One student, distilled from a store with all that belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.settings import parse_section
from pipeline.metrics.validated import Validated
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.manifest import read_manifest
from pipeline.store.view import View, make_view
from pipeline.student.model import digest_start, model_of, models_of
from pipeline.tasks import TASKS
from pipeline.text.tokens import Tokens, TokenSplit
from pipeline.train.distill import Judge, TrainedStudent, distill
from pipeline.train.parallel import Said, make_accelerator
from pipeline.train.settings import StudentSettings, TrainingSettings

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


def accuracy(said: Said, split: TokenSplit) -> Validated:
    """Return the share of rows whose largest logit is their label's, and no loss."""
    assert isinstance(said, np.ndarray)
    return Validated({"accuracy": float((said.argmax(1) == split.labels).mean())}, 0.0)


@dataclass
class Judgement:
    """A judge that gives the scores it is told, and keeps the logits it was shown."""

    scores: Sequence[float]
    """After the last one, Ctrl-C comes."""
    losses: Sequence[float] | None = None
    """0 where there are none."""
    logits: list[NDArray[np.floating]] = field(default_factory=list)

    def __call__(self, said: Said, split: TokenSplit) -> Validated:
        assert isinstance(said, np.ndarray)
        number = len(self.logits)
        self.logits.append(said)
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
        settings = parse_section(StudentSettings, student, "students.a")
        manifest = read_manifest(self.store)
        model = model_of(settings.model, "students.a")
        needs = settings.objectives.needs(models_of(model, manifest))
        arrays = needs.teacher | {Array(LOGITS)}
        return make_view(
            self.store, manifest, self.tokens, arrays, needs.other_stores, digest_start(model)
        )

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
        return distill(
            "a",
            view or self.view(student),
            self.store,
            tokens or self.tokens,
            TASKS["classification"],
            model_of(student["model"], "students.a"),
            parse_section(StudentSettings, student, "students.a"),
            TrainingSettings(**options),
            folder,
            judge=judge,
            inputs=INPUTS,
            unfinished_dir=folder.parents[1] / "unfinished" / folder.name,
            seconds_between_saves=60.0,
            accelerator=make_accelerator(torch.device("cpu")),
        )
