"""Training from a store equals training with the live teacher, and what a step reports."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from pipeline.errors import TrainingError
from pipeline.objectives.objective import Depths
from pipeline.objectives.weighted_sum import ObjectivesSettings, WeightedSum
from pipeline.settings import parse_section
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import StoredSignal, open_store
from pipeline.store.spec import CLS, LOGITS, ArraySpec
from pipeline.student.settings import TransformerSettings
from pipeline.student.transformer import build_student
from pipeline.tasks import TASKS
from pipeline.text.tokens import Tokens
from pipeline.train.batches import Batch, JoinedSplit, epoch_order
from pipeline.train.loop import StepReport, train
from pipeline.train.settings import TrainingSettings
from tests.conftest import OwnOutputs, own_outputs, shift_store

CPU = torch.device("cpu")
DEPTHS = Depths(student=2, teacher=4)
BATCH_SIZE = 6  # 10 steps an epoch

EVERY_OBJECTIVE: dict[str, Any] = {
    "hard_label": {"weight": 0.5},
    "soft_target": {"weight": 0.5, "temperature": 4.0},
    "logit_match": {"weight": 0.1},
    "cls": {"weight": 0.5, "layer_map": [[1, 2], [2, 3]]},
    "attentions": {"weight": 1.0, "layer_map": "uniform", "distance": "kl"},
}


class LiveSplit(JoinedSplit):
    """A split whose signals come from the teacher itself, row by row and without padding."""

    teacher: PreTrainedModel
    cache: dict[int, OwnOutputs]

    def own(self, row: int) -> OwnOutputs:
        if row not in self.cache:
            self.cache[row] = own_outputs(self.teacher, self.split.row(row), has_token_types=True)
        return self.cache[row]

    def read(self, rows: NDArray[np.int64]) -> Batch:
        own = [self.own(int(row)) for row in rows]
        signals = {
            LOGITS: torch.stack([outputs.logits for outputs in own]),
            CLS: torch.stack([outputs.cls for outputs in own]),
            **{
                ArraySpec("attentions", layer): torch.cat(
                    [outputs.attentions[layer - 1].flatten() for outputs in own]
                )
                for layer in (2, 4)
            },
        }
        live = {array: StoredSignal(values, "float32") for array, values in signals.items()}
        return replace(super().read(rows), signals=live)


class Setting:
    """The student, the objectives and the rows of one training."""

    def __init__(self, store: Path, tokens: Tokens, objectives: dict[str, Any]) -> None:
        self.settings = parse_section(ObjectivesSettings, objectives, "students.a.objectives")
        self.needs = self.settings.needs(DEPTHS)
        self.store, self.tokens = store, tokens

    def join(self, kind: type[JoinedSplit] = JoinedSplit, store: Path | None = None) -> JoinedSplit:
        return kind(
            self.tokens.splits["train"],
            open_store(store or self.store),
            self.needs,
            pad_id=0,
            has_token_types=True,
        )

    def build_student(self) -> PreTrainedModel:
        torch.manual_seed(0)
        settings = TransformerSettings(n_layers=DEPTHS.student, warm_start="none")
        manifest = read_manifest(self.store)
        return build_student(settings, manifest, self.store, TASKS["classification"])

    def train(
        self, rows: JoinedSplit, student: PreTrainedModel | None = None, **training: Any
    ) -> Iterator[StepReport]:
        options = {"batch_size": BATCH_SIZE, "epochs": 1, "learning_rate": 1e-3, **training}
        student = student or self.build_student()
        torch.manual_seed(0)  # dropout
        objective = WeightedSum(self.settings, DEPTHS)
        return train(student, objective, self.needs, rows, TrainingSettings(**options), CPU)


MakeSetting = Callable[..., Setting]


@pytest.fixture
def make_setting(even_store: Path, even_tokens: Tokens) -> MakeSetting:
    def make(**objectives: Any) -> Setting:
        return Setting(even_store, even_tokens, objectives)

    return make


def test_offline_equals_online(
    make_setting: MakeSetting, checkpoint: Path, even_store: Path, tmp_path: Path
) -> None:
    """Catches signals of other rows, layers, heads or tokens, or stored with lost digits.

    The store is float32, so its losses are the live teacher's up to the order of sums; a
    store that is one row late is the negative control.
    """
    setting = make_setting(**EVERY_OBJECTIVE)
    live = setting.join(LiveSplit)
    assert isinstance(live, LiveSplit)
    live.cache = {}
    live.teacher = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, attn_implementation="eager"
    ).eval()
    shifted = setting.join(store=shift_store(even_store, tmp_path / "shifted"))

    curves = {}
    for name, rows in (("offline", setting.join()), ("online", live), ("shifted", shifted)):
        reports = list(setting.train(rows, epochs=2))
        assert len(reports) == 20
        curves[name] = torch.tensor([[report.loss, *report.terms.values()] for report in reports])
    # Signals differ by 1e-6 (padded batches, another kernel) and enter the losses as they are;
    # 20 steps of 1e-3 carry a difference of the weights on, but do not enlarge it much. The
    # soft target alone is T^2 times a difference of logarithms, which float32 rounds by 2^-24.
    bound = 1e-5 * curves["online"]
    columns = {name: column for column, name in enumerate(("loss", *reports[0].terms))}
    bound[:, columns["soft_target"]] += 4.0**2 * 4 * 2**-24
    assert ((curves["offline"] - curves["online"]).abs() < bound).all()
    control = (curves["shifted"] - curves["online"]).abs() / bound
    for name, column in columns.items():
        if name == "hard_label":  # labels come with the tokens: it feels the weights alone
            assert control[0, column] == 0
        else:
            assert control[:, column].max() > 1000, name
    assert curves["online"][-3:, 0].mean() < 0.9 * curves["online"][:3, 0].mean()  # it learns


def test_a_term_is_reported_before_its_weight(make_setting: MakeSetting) -> None:
    """Catches curves whose terms do not add up to the total they stand beside."""
    reports = list(make_setting(**EVERY_OBJECTIVE).train(make_setting(**EVERY_OBJECTIVE).join()))
    for report in reports:
        assert list(report.terms) == list(EVERY_OBJECTIVE)
        total = sum(EVERY_OBJECTIVE[name]["weight"] * term for name, term in report.terms.items())
        assert report.loss == pytest.approx(total, rel=5 * 2**-24)  # five additions in float32
        assert all(term > 0 for term in report.terms.values())


class PoisonedSplit(JoinedSplit):
    """A split whose row 7 has logits that are no numbers."""

    def read(self, rows: NDArray[np.int64]) -> Batch:
        batch = super().read(rows)
        logits = batch.signals[LOGITS].values.clone()
        logits[torch.from_numpy(rows == 7)] = torch.nan
        poisoned = replace(batch.signals[LOGITS], values=logits)
        return replace(batch, signals={**batch.signals, LOGITS: poisoned})


def copy_weights(student: PreTrainedModel) -> list[Tensor]:
    return [weight.detach().clone() for weight in student.parameters()]


def test_a_loss_that_is_no_number_stops_the_training(make_setting: MakeSetting) -> None:
    """Catches weights that turn into NaN unnoticed, and an error that names no row."""
    setting = make_setting(logit_match={})
    rows, student = setting.join(PoisonedSplit), setting.build_student()
    order = epoch_order(rows.split.lengths, BATCH_SIZE, 0, 0, group_by_length=True)
    (bad,) = (number for number, members in enumerate(order) if 7 in members)
    assert bad > 0
    reports = setting.train(rows, student)
    for _ in range(bad):
        next(reports)
    before = copy_weights(student)
    message = (
        f"step {bad + 1}: the loss is nan ({{'logit_match': nan}}) on rows {order[bad].tolist()} "
        "of train. Lower training.learning_rate, or set training.precision to float32."
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        next(reports)
    after = copy_weights(student)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_reports_count_steps_and_examples(make_setting: MakeSetting) -> None:
    """Catches steps that are counted from 0, by epoch, or without the short last batch."""
    setting = make_setting(hard_label={})
    reports = list(setting.train(setting.join(), batch_size=16, epochs=2))
    assert [report.step for report in reports] == list(range(1, 9))
    assert {report.n_steps for report in reports} == {8}
    for epoch in (reports[:4], reports[4:]):
        assert sorted(report.n_examples for report in epoch) == [12, 16, 16, 16]


@pytest.mark.parametrize(
    ("per_epoch", "due"),
    [
        (1, [10, 20]),
        (2, [5, 10, 15, 20]),
        (3, [3, 6, 10, 13, 16, 20]),
        (99, list(range(1, 21))),
    ],
)
def test_validation_is_due(make_setting: MakeSetting, per_epoch: int, due: list[int]) -> None:
    """Catches an epoch whose end is not validated, or two validations in one place."""
    setting = make_setting(hard_label={})
    reports = setting.train(setting.join(), epochs=2, validations_per_epoch=per_epoch)
    assert [report.step for report in reports if report.is_validation_due] == due


def test_the_learning_rate_rises_and_falls(make_setting: MakeSetting) -> None:
    """Catches a schedule by epoch, one that never ends at zero, or no warm-up."""
    setting = make_setting(hard_label={})
    reports = setting.train(setting.join(), learning_rate=0.008, warmup_share=0.2)
    rates = [report.learning_rate for report in reports]
    expected = [0, 0.004, *(0.008 * (10 - step) / 8 for step in range(2, 10))]
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-18)  # float64 products


def test_every_weight_is_trained(make_setting: MakeSetting) -> None:
    """Catches a weight that the optimizer does not have, or a step that is left out."""
    setting = make_setting(**EVERY_OBJECTIVE)
    student = setting.build_student()
    before = copy_weights(student)
    list(setting.train(setting.join(), student))
    names = [name for name, _ in student.named_parameters()]
    for name, old, new in zip(names, before, copy_weights(student), strict=True):
        assert not torch.equal(old, new), name
        assert torch.isfinite(new).all(), name


def test_steps_are_no_longer_than_the_gradient_allows(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a clip of each weight alone, after the update, or of none."""
    setting = make_setting(logit_match={"weight": 100.0})
    student = setting.build_student()
    norms = []
    step = torch.optim.AdamW.step

    def note(optimizer: torch.optim.AdamW, *args: Any) -> None:
        parts = [weight.grad.norm() for weight in student.parameters() if weight.grad is not None]
        norms.append(float(torch.stack(parts).norm()))
        step(optimizer, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    list(setting.train(setting.join(), student, clip_norm=0.25))
    assert len(norms) == 10
    # clip_grad_norm_ divides by the norm plus 1e-6; all norms here were above 1.
    assert norms == pytest.approx([0.25] * 10, rel=1e-5)


def test_two_trainings_are_alike(make_setting: MakeSetting) -> None:
    """Catches a step that depends on time, threads or what ran before."""
    setting = make_setting(**EVERY_OBJECTIVE)
    first = [report.loss for report in setting.train(setting.join())]
    assert [report.loss for report in setting.train(setting.join())] == first
    assert [report.loss for report in setting.train(setting.join(), seed=1)] != first


def test_leaving_the_loop_ends_the_training(make_setting: MakeSetting) -> None:
    """Catches a reader thread that outlives its training."""
    setting = make_setting(hard_label={})
    n_threads = threading.active_count()
    with closing(setting.train(setting.join(), epochs=50)) as reports:  # type: ignore[type-var]
        for report in reports:
            assert threading.active_count() == n_threads + 1
            if report.step == 3:
                break
    assert threading.active_count() == n_threads
