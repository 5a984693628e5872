"""A student's training on made-up rows, to measure the loop and what feeds it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.made_store import write_made_store
from benchmarks.synthetic import make_table
from pipeline.core.settings import parse_section
from pipeline.models.architecture import Architecture
from pipeline.objectives.chosen import ChosenObjectives, ObjectivesSettings
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.models import Models, StudentShape
from pipeline.signals.signal import Array, Arrays
from pipeline.student.network_settings import STUDENTS
from pipeline.student.settings import TRANSFORMER
from pipeline.text.tokens import TokenSplit
from pipeline.train.settings import TrainingSettings
from pipeline.train.state import TrainState

BASE = Architecture(
    model_type="bert", n_layers=12, n_heads=12, hidden_size=768, n_labels=2, head_reads="first"
)
BUNDLED = Architecture(
    model_type="bert", n_layers=6, n_heads=12, hidden_size=384, n_labels=2, head_reads="first"
)
SHAPES = {"base": BASE, "bundled": BUNDLED}
N_STUDENT_LAYERS = 3


def short_lengths(n_rows: int) -> NDArray[np.int64]:
    """Return lengths (tokens) like those of single sentences: 27 in the mean, up to 128."""
    drawn = np.random.default_rng(0).lognormal(3.2, 0.5, n_rows)
    return np.clip(drawn, 4, 128).astype(np.int64)


def objectives_of(teacher: Architecture, student: str = TRANSFORMER) -> ChosenObjectives:
    """Return soft targets and, for a Transformer, [CLS] of two layers and maps of three."""
    step = teacher.n_layers // N_STUDENT_LAYERS
    pairs = [[layer, step * layer] for layer in range(1, N_STUDENT_LAYERS + 1)]
    chosen: dict[str, Any] = {
        "hard_label": {"weight": 0.5},
        "soft_target": {"weight": 0.5, "temperature": 4.0},
    }
    if student == TRANSFORMER:
        chosen |= {"cls": {"layer_map": "skip"}, "attentions": {"layer_map": pairs}}
    return parse_section(ObjectivesSettings, chosen, "objectives")


def models_of(teacher: Architecture, student: str = TRANSFORMER) -> Models:
    """Return both models: a Transformer is as wide as the teacher."""
    if student != TRANSFORMER:
        return Models(STUDENTS[student]().shape(teacher, ""), teacher)
    shape = StudentShape(N_STUDENT_LAYERS, teacher.hidden_size, teacher.n_heads)
    return Models(shape, teacher)


def make_split_and_store(
    store_dir: Path, teacher: Architecture, lengths: NDArray[np.int64], segment_rows: int
) -> TokenSplit:
    """Write a store of what the objectives read, in the default encodings; return its rows."""
    split = make_table(lengths, teacher).splits["train"]
    needed = objectives_of(teacher).needs(models_of(teacher)).teacher
    maps = sorted(array for array in needed if array.signal == ATTENTIONS)
    arrays: Arrays = {Array(LOGITS): "float32", CLS_STATES: "float16"}
    arrays |= {Array(ATTENTIONS, array.layer): "float16" for array in maps}
    write_made_store(store_dir, teacher, arrays, lengths, segment_rows, split.keys)
    return split


def make_student(
    teacher: Architecture, student: str = TRANSFORMER, *, is_frozen: bool = False
) -> PreTrainedModel:
    """Return a random student: of three layers as wide as the teacher, or over its embeddings."""
    torch.manual_seed(0)
    if student != TRANSFORMER:
        settings = STUDENTS[student]()
        config = settings.config(teacher.hidden_size, num_labels=2)
        network = settings.network_class()(config)
        network.get_input_embeddings().requires_grad_(not is_frozen)
        return network
    config = AutoConfig.for_model(
        "bert",
        num_hidden_layers=N_STUDENT_LAYERS,
        num_attention_heads=teacher.n_heads,
        hidden_size=teacher.hidden_size,
        intermediate_size=4 * teacher.hidden_size,
        num_labels=teacher.n_labels,
    )
    model = AutoModelForSequenceClassification.from_config(config)
    assert isinstance(model, PreTrainedModel)
    return model


def make_learner(
    teacher: Architecture,
    n_rows: int,
    settings: TrainingSettings,
    accelerator: Accelerator,
    student: str = TRANSFORMER,
    *,
    is_frozen: bool = False,
) -> TrainState:
    """Return a random student to be trained."""
    model = make_student(teacher, student, is_frozen=is_frozen)
    objective = WeightedSum(objectives_of(teacher, student), models_of(teacher, student))
    n_steps = -(-n_rows // settings.batch_size) * settings.epochs
    return TrainState(model, objective, settings, n_steps, accelerator.device)
