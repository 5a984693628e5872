"""Everything that changes while a student is trained, to be saved and restored as one."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.train.precision import make_scaler
from pipeline.train.schedule import make_optimizer, make_schedule
from pipeline.train.settings import TrainingSettings


class Learner:
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
        self.optimizer = make_optimizer(self.weights, settings)
        self.schedule = make_schedule(self.optimizer, n_steps, settings)
        self.scaler = make_scaler(settings, device)
        self.step = 0
        """Updates that were made."""

    def update(self, clip_norm: float) -> float:
        """Make one update from the gradients, and clear them; return its learning rate."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.weights, clip_norm)
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
