"""A training that is not finished yet, kept so that a killed one goes on.

The folder lives outside of what DVC manages, because DVC may delete a stage's outputs
before it runs the stage. What is in it belongs to exactly the inputs (view, settings,
code) it was made from; with other inputs it is not used.
"""

import pickle
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from pipeline.core.atomic import replacing_file, replacing_folder
from pipeline.core.errors import TrainingError

_STATE_NAME = "state.pt"


class ResumableTraining:
    """The state of a training after some step, and the best weights until then."""

    def __init__(
        self, folder: Path, inputs: Mapping[str, str], seconds_between_saves: float = 60.0
    ) -> None:
        """Keep a training of these inputs, by name and digest, in `folder`."""
        self.folder = folder
        self.inputs = dict(inputs)
        self._seconds_between_saves = seconds_between_saves

    def is_due(self, saved_at: float) -> bool:
        """Say whether the last save, at this `time.monotonic()`, was long enough ago."""
        return time.monotonic() - saved_at >= self._seconds_between_saves

    def load(self) -> dict[str, Any] | None:
        """Return what `save` was last given, on the CPU; None where there is nothing to go on.

        Raises:
            TrainingError: the state cannot be read.
        """
        path = self.folder / _STATE_NAME
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{path} cannot be read: {error}. Delete {self.folder} to train from the start."
            ) from error
        return dict(kept["state"]) if kept["inputs"] == self.inputs else None

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a state of tensors, numbers, texts, lists and mappings in place of the last."""
        with replacing_file(self.folder / _STATE_NAME) as file:
            torch.save({"inputs": self.inputs, "state": dict(state)}, file)

    def best_folder(self, step: int) -> Path:
        """Return where the checkpoint of the best step is."""
        return self.folder / f"best-{step}"

    def keep_best(self, student: PreTrainedModel, step: int, state: Mapping[str, Any]) -> None:
        """Write the student's checkpoint and the state that names it; drop the one before."""
        with replacing_folder(self.best_folder(step)) as folder:
            student.save_pretrained(folder)
        self.save(state)
        for other in self.folder.glob("best-*"):
            if other != self.best_folder(step):
                shutil.rmtree(other, ignore_errors=True)

    def discard(self) -> None:
        """Delete it all."""
        shutil.rmtree(self.folder, ignore_errors=True)
