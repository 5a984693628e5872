"""Small students of every kind, each exported once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipeline.export.onnx_file import write_onnx
from pipeline.export.session import OnnxStudent
from pipeline.models.inputs import pad_rows
from pipeline.text.token_row import TokenRow
from tests.conftest import MODEL_TYPES, make_model
from tests.student.own_models import OWN_MODELS, make_own

INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
METADATA = {"labels": '["negative", "positive"]', "max_length": "64"}


@dataclass(frozen=True)
class Exported:
    """A student and its ONNX file."""

    student: PreTrainedModel
    path: Path
    has_token_types: bool

    def inputs(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        """Return the rows as a batch, padded to the longest."""
        pad_id = int(self.student.config.pad_token_id or 0)
        return pad_rows(rows, pad_id, has_token_types=self.has_token_types)

    def expected(self, rows: list[TokenRow]) -> NDArray[np.float32]:
        """Return PyTorch's logits."""
        with torch.no_grad():
            logits: NDArray[np.float32] = self.student(**self.inputs(rows)).logits.numpy()
        return logits

    def found(self, rows: list[TokenRow]) -> NDArray[np.float32]:
        """Return onnxruntime's logits."""
        logits: NDArray[np.float32] = OnnxStudent(self.path).logits(self.inputs(rows)).numpy()
        return logits


def make_student(kind: str) -> PreTrainedModel:
    """Return a random student of one of OWN_MODELS or of MODEL_TYPES.

    Of one layer: each takes seconds to export, and all are alike.
    """
    if kind in OWN_MODELS:
        student: Any = make_own(kind)
        assert isinstance(student, PreTrainedModel)
        return student
    return make_model(kind, n_layers=1)


Export = Callable[[str], Exported]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a function that exports a student of a kind, once a session."""
    made: dict[str, Exported] = {}
    folder = tmp_path_factory.mktemp("exported")

    def export(kind: str) -> Exported:
        if kind not in made:
            student = make_student(kind)
            has_types = kind in OWN_MODELS or MODEL_TYPES.get(kind, True)
            names = INPUTS if has_types else ["input_ids", "attention_mask"]
            write_onnx(student, names, folder / f"{kind}.onnx", METADATA)
            made[kind] = Exported(student, folder / f"{kind}.onnx", has_types)
        return made[kind]

    return export
