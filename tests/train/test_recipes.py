"""Every recipe trains a student, all of it, from a tiny store."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.core.settings import parse_section
from pipeline.models.inputs import Inputs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.project.recipes import Recipe, list_recipes
from pipeline.store.reader import open_store
from pipeline.student.build import build_student
from pipeline.student.model import model_of, models_of
from pipeline.tasks import TASKS
from pipeline.text.tokens import Tokens
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import train
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import StudentSettings, TrainingSettings
from pipeline.train.state import TrainState
from tests.conftest import capture_store, make_checkpoint
from tests.train.conftest import CPU


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, even_tokens: Tokens) -> Path:
    """What all recipes need, of a teacher as deep as the shipped one; not to be changed."""
    folder = tmp_path_factory.mktemp("recipes")
    teacher = make_checkpoint(folder / "teacher", n_layers=6)
    signals = {"hidden_states": {"layers": (0, 2, 4, 6)}, "attentions": {"layers": (2, 4, 6)}}
    return capture_store(folder / "store", teacher, even_tokens, signals=signals)


class Touched:
    """Which of a student's weights had a gradient other than zero, and at which update."""

    def __init__(self, student: nn.Module) -> None:
        self.step = 0
        self.by_step: dict[int, set[str]] = {}
        for name, weight in student.named_parameters():
            weight.register_post_accumulate_grad_hook(self._note(name))

    def _note(self, name: str) -> Callable[[torch.Tensor], None]:
        def note(weight: torch.Tensor) -> None:
            assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
            if weight.grad.any():
                self.by_step.setdefault(self.step, set()).add(name)

        return note


def train_twice(recipe: Recipe, store: Path, tokens: Tokens) -> tuple[nn.Module, Touched]:
    """Make two updates, the first and the last of a training, by a recipe."""
    view = open_store(store)
    settings = parse_section(StudentSettings, recipe.settings, recipe.name)
    model = model_of(settings.model, recipe.name)
    models = models_of(model, view.manifest)
    needs = settings.objectives.needs(models)
    torch.manual_seed(0)
    student = build_student(model, view.manifest, store, TASKS["classification"], say=print)
    split = tokens.splits["train"]
    rows = JoinedSplit(split, view, needs, Inputs(0, has_token_types=True))
    options = TrainingSettings(batch_size=30, epochs=1, learning_rate=1e-3)
    n_steps = rows.count_batches(options) * options.epochs
    learner = TrainState(student, WeightedSum(settings.objectives, models), options, n_steps, CPU)
    touched = Touched(student)
    for report in train(learner, needs, rows, options, make_accelerator(CPU)):
        assert math.isfinite(report.loss) and report.loss > 0
        assert all(term > 0 for term in report.terms.values()), report.terms
        touched.step = report.step
    assert touched.step == 2
    return student, touched


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_it_trains_every_weight(recipe: Recipe, store: Path, even_tokens: Tokens) -> None:
    """Catches a recipe that cannot be trained, and a part of the student that no term reaches."""
    student, touched = train_twice(recipe, store, even_tokens)
    names = {name for name, _ in student.named_parameters()}
    assert len(names) > 5
    assert set.union(*touched.by_step.values()) == names


def test_tinybert_has_two_phases(store: Path, even_tokens: Tokens) -> None:
    """Catches predictions taught with the layers, and layers taught by hidden states to the end."""
    (recipe,) = (recipe for recipe in list_recipes() if recipe.name == "tinybert")
    student, touched = train_twice(recipe, store, even_tokens)
    head = {name for name, _ in student.named_parameters() if "encoder" not in name} - {
        name for name, _ in student.named_parameters() if "embeddings" in name
    }
    assert {"classifier.weight", "bert.pooler.dense.weight"} <= head
    assert not touched.by_step[0] & head
    assert touched.by_step[1] >= head
