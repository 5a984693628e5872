"""In every kind of task a store teaches what the live teacher would have taught."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.online import OnlineSplit
from pipeline.models.head import load_trained
from pipeline.store.reader import open_store
from pipeline.store.spec import parse_array_name
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.train.batches import JoinedSplit
from tests.compared import make_models
from tests.conftest import capture_store
from tests.tasks.small_tasks import KINDS, make_teacher, make_tokens
from tests.train.conftest import CPU, Setting, without_dropout
from tests.train.shifted_split import ShiftedSplit

N_STEPS = 20
OPTIONS = {"batch_size": 8, "epochs": 5, "learning_rate": 1e-3}
PIECES = ("masked_lm", "sequence_to_sequence")
TEMPERATURE = 3.0
OBJECTIVES: dict[str, Any] = {
    "hard_label": {"weight": 0.5},
    "soft_target": {"weight": 0.5, "temperature": TEMPERATURE},
    "logit_match": {"weight": 0.1},
    "cls": {"weight": 0.5, "layer_map": [[1, 1], [2, 2]]},
    "attentions": {"weight": 1.0, "layer_map": [[1, 2]], "distance": "kl"},
}
IN_FLOAT32 = {
    "logits": {"encoding": "float32"},
    "cls": {"encoding": "float32"},
    "attentions": {"layers": (2,), "encoding": "float32"},
}


def curves(setting: Setting, rows: JoinedSplit, **options: Any) -> Tensor:
    """Return the loss and the terms (step, 1 + objective) of a training without dropout."""
    student = without_dropout(setting.build_student())
    reports = list(setting.train(rows, student, **OPTIONS, **options))
    assert len(reports) >= N_STEPS
    return torch.tensor([[report.loss, *report.terms.values()] for report in reports])


@pytest.mark.parametrize("kind", KINDS)
def test_offline_equals_online(kind: Kind, tmp_path: Path) -> None:
    """Catches logits of other rows, words or choices, or a loss that counts what is not there:
    padding, pieces of words, choices that a question does not have, unlabelled ones."""
    teacher = make_teacher(tmp_path / "teacher", kind)
    tokens = make_tokens(tmp_path, kind, teacher)
    objectives, signals, temperature = {**OBJECTIVES}, {**IN_FLOAT32}, TEMPERATURE
    if kind == "regression":
        del objectives["soft_target"]
    if kind in PIECES:  # of which a store has the likeliest alone
        temperature = 1.0
        objectives["soft_target"] = {"weight": 0.5, "temperature": temperature}
        signals["logits"] = {"encoding": "float32", "top_k": 8}
    if kind == "sequence_to_sequence":
        del objectives["cls"], signals["cls"]
    store = capture_store(tmp_path / "store", teacher, tokens, signals=signals)
    captured = [parse_array_name(name) for name in open_store(store).array_names()]
    models = make_models(2, 2, hidden_size=16, n_heads=4, captured=captured)
    models = replace(models, task=TASKS[kind])
    setting = Setting(store, tokens, objectives, models)
    live = OnlineSplit(
        tokens.splits["train"],
        open_store(store),
        setting.needs,
        load_trained(teacher, models.task),
        CPU,
        has_token_types=True,
    )
    online = curves(setting, live)
    offline = curves(setting, setting.join())
    in_parts = curves(setting, setting.join(), micro_batch_size=3)
    shifted = curves(setting, setting.join(ShiftedSplit))

    # The stored signals are those of other batches: sums in another order, one unit in the last
    # place here and there, as with parts. The soft target is T^2 times a difference of logarithms.
    columns = ["loss", *objectives]
    bound = 1e-5 * online.abs()
    if "soft_target" in columns:
        bound[:, columns.index("soft_target")] += temperature**2 * 4 * 2**-24
    assert ((offline - online).abs() <= bound).all()
    assert ((in_parts - online).abs() <= bound).all()
    control = (shifted - online).abs()
    for column, name in enumerate(columns):
        if name == "hard_label":  # labels come with the tokens: it feels the weights alone
            assert control[0, column] < bound[0, column]
        else:
            assert (control / bound)[:, column].max() > 100, name
    assert online[-5:, 0].mean() < 0.95 * online[:5, 0].mean()  # it learns
