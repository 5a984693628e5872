"""Training from a store equals training with the live teacher, and what a step reports."""

import math
import re
import threading
from contextlib import closing
from dataclasses import replace
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.core.errors import TrainingError
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.train.batches import Batch, JoinedSplit
from pipeline.train.order import global_order
from tests.train.conftest import BATCH_SIZE, EVERY_OBJECTIVE, MakeSetting, without_dropout


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

    def read(self, rows: NDArray[np.int64], batch: NDArray[np.int64] | None = None) -> Batch:
        read = super().read(rows, batch)
        logits = read.signals[Array(LOGITS)].values.clone()
        logits[torch.from_numpy(rows == 7)] = torch.nan
        poisoned = replace(read.signals[Array(LOGITS)], values=logits)
        return replace(read, signals={**read.signals, Array(LOGITS): poisoned})


def copy_weights(student: PreTrainedModel) -> list[Tensor]:
    return [weight.detach().clone() for weight in student.parameters()]


def test_a_loss_that_is_no_number_stops_the_training(make_setting: MakeSetting) -> None:
    """Catches weights that turn into NaN unnoticed, and an error that names no row."""
    setting = make_setting(logit_match={})
    rows, student = setting.join(PoisonedSplit), setting.build_student()
    split = setting.tokens.splits["train"]
    order = global_order(split.lengths, BATCH_SIZE, 0, 0, group_by_length=True).batches
    (bad,) = (number for number, members in enumerate(order) if 7 in members)
    assert bad > 0
    reports = setting.train(rows, student)
    for _ in range(bad):
        next(reports)
    before = copy_weights(student)
    message = (
        f"step {bad + 1}: the loss is nan ({{'logit_match': nan}}) on the rows with the keys "
        f"{', '.join(bytes(key).hex() for key in split.keys[order[bad]])}. Lower "
        "training.learning_rate, or set training.precision to float32."
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
    reports = setting.train(setting.join(), learning_rate=0.008, warmup_ratio=0.2)
    rates = [report.learning_rate for report in reports]
    expected = [0, 0.004, *(0.008 * (10 - step) / 8 for step in range(2, 10))]
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-18)  # float64 products


def test_the_learning_rate_may_fall_as_a_cosine(make_setting: MakeSetting) -> None:
    """Catches a schedule that is named and not used."""
    setting = make_setting(hard_label={})
    reports = setting.train(
        setting.join(), learning_rate=0.008, warmup_ratio=0.2, schedule="cosine"
    )
    rates = [report.learning_rate for report in reports]
    fall = [0.004 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates == pytest.approx([0, 0.004, *fall], rel=1e-12, abs=1e-18)


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
    list(setting.train(setting.join(), student, max_grad_norm=0.25))
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


def test_checkpointing_of_gradients_changes_nothing(make_setting: MakeSetting) -> None:
    """Catches layers that are computed again with other dropout, or another attention."""
    setting = make_setting(**EVERY_OBJECTIVE)
    plain, saving = setting.build_student(), setting.build_student()
    losses = [report.loss for report in setting.train(setting.join(), plain)]
    again = [
        report.loss for report in setting.train(setting.join(), saving, gradient_checkpointing=True)
    ]
    assert saving.is_activation_checkpointing and not plain.is_activation_checkpointing
    assert again == losses
    for ours, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# The compiler warns of what it does itself.
@pytest.mark.filterwarnings("default")
def test_a_compiled_student_learns_the_same(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches attention maps or [CLS] states that a compiled forward does not give.

    The graphs are those of the compiler, its kernels are not: they take a minute to build.
    """
    quickly = partialmethod(torch.nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", quickly)
    setting = make_setting(**EVERY_OBJECTIVE)
    plain, compiled = (without_dropout(setting.build_student()) for _ in range(2))
    losses = [report.loss for report in setting.train(setting.join(), plain)]
    again = [report.loss for report in setting.train(setting.join(), compiled, compile=True)]
    assert compiled._compiled_call_impl is not None and plain._compiled_call_impl is None
    assert again == pytest.approx(losses, rel=1e-5)  # fused kernels add up in another order


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_forward_of_16_bits_learns_nearly_the_same(
    make_setting: MakeSetting, precision: str
) -> None:
    """Catches a format that is not used, or gradients of float16 that vanish."""
    setting = make_setting(**EVERY_OBJECTIVE)
    exact, coarse = (without_dropout(setting.build_student()) for _ in range(2))
    losses = [report.loss for report in setting.train(setting.join(), exact)]
    again = [report.loss for report in setting.train(setting.join(), coarse, precision=precision)]
    assert again != losses
    # bfloat16 has 8 bits; each of a dozen products in a row rounds once.
    assert again == pytest.approx(losses, rel=12 * 2**-8)
    assert {weight.dtype for weight in coarse.parameters()} == {torch.float32}
