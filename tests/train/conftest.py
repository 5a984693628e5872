"""One training of a small student, with everything in its place."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.core.settings import parse_section
from pipeline.models.inputs import Inputs
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.signals.models import Models
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.student.build import build_student
from pipeline.student.settings import TransformerSettings
from pipeline.text.tokens import Tokens
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import StepReport, train
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import TrainingSettings
from pipeline.train.state import TrainState
from tests.compared import make_models
from tests.train.bench import Bench

CPU = torch.device("cpu")
MODELS = make_models(2, 4, hidden_size=16, n_heads=4)
BATCH_SIZE = 6  # 10 steps an epoch

EVERY_OBJECTIVE: dict[str, Any] = {
    "hard_label": {"weight": 0.5},
    "soft_target": {"weight": 0.5, "temperature": 4.0},
    "logit_match": {"weight": 0.1},
    "cls": {"weight": 0.5, "layer_map": [[1, 2], [2, 3]]},
    "attentions": {"weight": 1.0, "layer_map": "uniform", "distance": "kl"},
}


class Setting:
    """The student, the objectives and the rows of one training."""

    def __init__(
        self, store: Path, tokens: Tokens, objectives: dict[str, Any], models: Models = MODELS
    ) -> None:
        self.settings = parse_section(ObjectivesSettings, objectives, "students.a.objectives")
        self.models = models
        self.needs = self.settings.needs(models)
        self.store, self.tokens = store, tokens

    def join(self, kind: type[JoinedSplit] = JoinedSplit, store: Path | None = None) -> JoinedSplit:
        return kind(
            self.tokens.splits["train"],
            open_store(store or self.store),
            self.needs,
            Inputs(0, has_token_types=True),
        )

    def build_student(self) -> PreTrainedModel:
        torch.manual_seed(0)
        settings = TransformerSettings(n_layers=self.models.student.n_layers, warm_start="none")
        manifest = read_manifest(self.store)
        return build_student(settings, manifest, self.store, self.models.task, say=print)

    def options(self, **training: Any) -> TrainingSettings:
        options = {"batch_size": BATCH_SIZE, "epochs": 1, "learning_rate": 1e-3, **training}
        return TrainingSettings(**options)

    def train(
        self, rows: JoinedSplit, student: PreTrainedModel | None = None, **training: Any
    ) -> Iterator[StepReport]:
        settings = self.options(**training)
        learner = TrainState(
            student or self.build_student(),
            WeightedSum(self.settings, self.models),
            settings,
            rows.count_batches(settings) * settings.epochs,
            CPU,
        )
        return train(learner, self.needs, rows, settings, make_accelerator(CPU))


MakeSetting = Callable[..., Setting]


@pytest.fixture
def make_setting(even_store: Path, even_tokens: Tokens) -> MakeSetting:
    def make(**objectives: Any) -> Setting:
        return Setting(even_store, even_tokens, objectives)

    return make


@pytest.fixture
def bench(
    even_store: Path, even_tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    """Distils from `even_store`, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return Bench(even_store, even_tokens)


def without_dropout(student: PreTrainedModel) -> PreTrainedModel:
    """Return the student after its dropout was switched off, in training too."""
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    student.config.attention_probs_dropout_prob = 0.0
    return student
