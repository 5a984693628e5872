"""Everything that changes while a student is trained, to be saved and restored as one.

Its optimizer and the course of its learning rate, and the number format of its forward.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, get_scheduler

from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.train.settings import TrainingSettings


class TrainState:
    """A student, its objectives' own weights, and the optimizer of both.

    The order of the rows and the random numbers of a step follow from the seed and the
    step's number, so that what is here is the whole state of a training.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        objective: WeightedSum,
        settings: TrainingSettings,
        n_steps: int,
        device: torch.device,
    ) -> None:
        """Move the models to `device`, to be trained for `n_steps` updates."""
        nn.Module.to(student, device)  # the model's own `to` is wrapped and has lost its types
        objective.to(device)
        self.student = student
        self.objective = objective
        self.n_steps = n_steps
        self.weights = [
            weight
            for weight in (*student.parameters(), *objective.parameters())
            if weight.requires_grad
        ]
        self.optimizer = _make_optimizer(self.weights, settings)
        self.schedule = _make_schedule(self.optimizer, n_steps, settings)
        self.scaler = _make_scaler(settings, device)
        self.step = 0
        """Updates that were made."""

    def update(self, max_grad_norm: float) -> float:
        """Make one update from the gradients, and clear them; return its learning rate."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.weights, max_grad_norm)
        learning_rate = float(self.schedule.get_last_lr()[0])
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler.get_scale() >= scale:  # else a gradient overflowed, and nothing moved
            self.schedule.step()
        self.step += 1
        return learning_rate

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two updates."""
        return {"step": self.step} | {
            name: part.state_dict() for name, part in self._parts().items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that another learner of the same settings gave."""
        self.step = int(state["step"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "student": self.student,
            "objective": self.objective,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
        }


def _make_optimizer(weights: Sequence[nn.Parameter], settings: TrainingSettings) -> AdamW:
    """Return AdamW over all weights; biases and normalisation weights are not decayed."""
    return AdamW(
        [
            {
                "params": [weight for weight in weights if weight.ndim >= 2],
                "weight_decay": settings.weight_decay,
            },
            {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        fused=True,  # on a CPU a seventh of the time, which is a fifth of a small batch's step
    )


def _make_schedule(optimizer: Optimizer, n_steps: int, settings: TrainingSettings) -> LambdaLR:
    """Return a linear rise over the warm-up share, then the schedule's fall to zero."""
    n_warmup = round(settings.warmup_ratio * n_steps)
    schedule = get_scheduler(settings.schedule, optimizer, n_warmup, n_steps)
    assert isinstance(schedule, LambdaLR)
    return schedule


def forward_type(settings: TrainingSettings, device: torch.device) -> torch.dtype:
    """Return the format of matrix products; `auto` is bfloat16 on CUDA, else float32."""
    if settings.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
        settings.precision
    ]


def autocast(settings: TrainingSettings, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which the student's forward runs."""
    dtype = forward_type(settings, device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def _make_scaler(settings: TrainingSettings, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients of float16 from vanishing; of other formats, nothing."""
    is_needed = forward_type(settings, device) == torch.float16
    return torch.amp.GradScaler(device.type, enabled=is_needed)
