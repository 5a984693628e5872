"""The student's training loop: a generator of step reports.

What to do with a report (log it, validate, keep the weights, stop) is the body of
the caller's `for`; leaving that loop ends training.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.errors import TrainingError
from pipeline.objectives.objective import Needs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.train.batches import JoinedSplit, epoch_order
from pipeline.train.forward import StudentForward
from pipeline.train.schedule import make_optimizer, make_schedule
from pipeline.train.settings import TrainingSettings


@dataclass(frozen=True)
class StepReport:
    """One update of the student's weights."""

    step: int
    """From 1."""
    n_steps: int
    loss: float
    """The weighted sum."""
    terms: dict[str, float]
    """Each objective before its weight."""
    learning_rate: float
    n_examples: int
    is_validation_due: bool


def train(
    student: PreTrainedModel,
    objective: WeightedSum,
    needs: Needs,
    rows: JoinedSplit,
    settings: TrainingSettings,
    device: torch.device,
) -> Iterator[StepReport]:
    """Train `student` on all `rows` for the settings' epochs, one update a report.

    Raises:
        TrainingError: the loss is no longer a number; names step, rows and terms.
    """
    nn.Module.to(student, device)  # the model's own `to` is wrapped and has lost its types
    objective.to(device)
    forward = StudentForward(student, needs)
    weights = [*student.parameters(), *objective.parameters()]
    optimizer = make_optimizer(weights, settings)
    n_steps = count_steps(rows, settings)
    steps_per_epoch = n_steps // settings.epochs
    validation_steps = _validation_steps(steps_per_epoch, settings)
    schedule = make_schedule(optimizer, n_steps, settings)
    step = 0
    for epoch in range(settings.epochs):
        order = epoch_order(
            rows.split.lengths,
            settings.batch_size,
            settings.seed,
            epoch,
            group_by_length=settings.group_by_length,
        )
        for number, batch in enumerate(rows.stream(order), start=1):
            student.train()
            batch = batch.to(device)
            with autocast(settings, device):
                outputs = forward(batch)
            loss, terms = objective(outputs, batch.teacher(), batch.labels)
            step += 1
            values = {name: float(term.detach()) for name, term in terms.items()}
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"step {step}: the loss is {float(loss.detach())} ({values}) on rows "
                    f"{batch.rows.tolist()} of train. Lower training.learning_rate, or set "
                    "training.precision to float32."
                )
            loss.backward()
            nn.utils.clip_grad_norm_(weights, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            learning_rate = float(schedule.get_last_lr()[0])
            schedule.step()
            yield StepReport(
                step=step,
                n_steps=n_steps,
                loss=float(loss.detach()),
                terms=values,
                learning_rate=learning_rate,
                n_examples=len(batch.rows),
                is_validation_due=number in validation_steps,
            )


def count_steps(rows: JoinedSplit, settings: TrainingSettings) -> int:
    """Return the number of updates in a whole training."""
    return -(-len(rows.split) // settings.batch_size) * settings.epochs


def autocast(settings: TrainingSettings, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which the student's forward runs."""
    is_mixed = settings.precision == "bfloat16" or (
        settings.precision == "auto" and device.type == "cuda"
    )
    return torch.autocast(device.type, dtype=torch.bfloat16) if is_mixed else nullcontext()


def _validation_steps(steps_per_epoch: int, settings: TrainingSettings) -> set[int]:
    """Return after which steps of an epoch to validate; its last is always one of them."""
    n_validations = min(settings.validations_per_epoch, steps_per_epoch)
    return {steps_per_epoch * number // n_validations for number in range(1, n_validations + 1)}
