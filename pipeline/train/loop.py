"""The student's training loop: a generator of step reports.

What to do with a report (log it, validate, keep the weights, stop) is the body of
the caller's `for`; leaving that loop ends training.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray

from pipeline.core.errors import TrainingError
from pipeline.objectives.needs import Needs
from pipeline.train.batches import JoinedSplit
from pipeline.train.parallel import parts_of
from pipeline.train.settings import TrainingSettings
from pipeline.train.state import TrainState
from pipeline.train.step import DistillationStep


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
    learner: TrainState,
    needs: Needs,
    rows: JoinedSplit,
    settings: TrainingSettings,
    accelerator: Accelerator,
) -> Iterator[StepReport]:
    """Train on all `rows` for the settings' epochs, one update a report, from `learner.step` on.

    Every process of `accelerator` computes its share of each batch, in parts where
    micro-batches are asked for; batches, losses and updates are those of one process that
    computes each batch at once, up to the order of sums. Python's, numpy's and torch's
    random numbers are seeded anew for every step.

    Raises:
        TrainingError: the loss is no longer a number; names step, terms and rows.
        CheckpointError, SettingsError: the student cannot do what is asked of it.
    """
    device = accelerator.device
    rank, count = accelerator.process_index, accelerator.num_processes
    module: torch.nn.Module = accelerator.prepare_model(
        DistillationStep(learner.student, learner.objective, needs, settings)
    )
    names = list(learner.objective.weights)
    steps_per_epoch = learner.n_steps // settings.epochs
    validation_steps = _validation_steps(steps_per_epoch, settings)

    def cut(batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return parts_of(batch, rank, count, settings.micro_batch_size)

    while learner.step < learner.n_steps:
        epoch, n_done = divmod(learner.step, steps_per_epoch)
        order = rows.order(settings, epoch)
        is_cuda = device.type == "cuda"
        parts = rows.stream(order, cut, first_batch=n_done, is_pinned=is_cuda)
        for number, batch in enumerate(order.batches[n_done:], start=n_done + 1):
            module.train()
            _seed(settings.seed, learner.step, rank)
            progress = learner.step / max(1, learner.n_steps - 1)
            values = torch.zeros(1 + len(names), device=device)
            is_last = False
            while not is_last:
                part, is_last = next(parts)
                with nullcontext() if is_last else accelerator.no_sync(module):
                    computed = module(part.to(device), progress)
                    # The processes' gradients are averaged, and should be added up.
                    learner.scaler.scale(computed[0] * count).backward()
                values += computed.detach()
            loss, *terms = accelerator.reduce(values, "sum").tolist()
            if not np.isfinite(loss):
                raise TrainingError(
                    f"step {learner.step + 1}: the loss is {loss} "
                    f"({dict(zip(names, terms, strict=True))}) on the rows with the keys "
                    f"{', '.join(key.tobytes().hex() for key in rows.keys(batch))}. Lower "
                    "training.learning_rate, or set training.precision to float32."
                )
            learning_rate = learner.update(settings.max_grad_norm)
            yield StepReport(
                step=learner.step,
                n_steps=learner.n_steps,
                loss=loss,
                terms=dict(zip(names, terms, strict=True)),
                learning_rate=learning_rate,
                n_examples=len(batch),
                is_validation_due=number in validation_steps,
            )


def _seed(seed: int, step: int, rank: int) -> None:
    """Seed all random numbers for one step: no state of theirs outlives a step."""
    (mixed,) = np.random.SeedSequence([seed, step, rank]).generate_state(1)
    set_seed(int(mixed))


def _validation_steps(steps_per_epoch: int, settings: TrainingSettings) -> set[int]:
    """Return after which steps of an epoch to validate; its last is always one of them."""
    n_validations = min(settings.validations_per_epoch, steps_per_epoch)
    return {steps_per_epoch * number // n_validations for number in range(1, n_validations + 1)}
