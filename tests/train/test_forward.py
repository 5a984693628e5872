"""A student's forward against its own outputs, for every model type."""

import numpy as np
import pytest
import torch

from pipeline.models.padding import pad_rows
from pipeline.objectives.needs import Needs
from pipeline.train.batches import Batch
from pipeline.train.forward import make_forward
from tests.conftest import DECODERS, MODEL_TYPES, PAD_ID, make_model, make_rows, own_outputs

LENGTHS = (4, 11, 7, 2)


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [*((name, {}) for name in MODEL_TYPES), ("modernbert", {"classifier_pooling": "mean"})],
)
def test_it_gives_the_students_own_outputs(model_type: str, changes: dict[str, str]) -> None:
    """Catches a student that is taught at another position than its head reads."""
    rows, has_token_types = make_rows(LENGTHS), MODEL_TYPES[model_type]
    if model_type in DECODERS:
        rows[1][0][-1] = PAD_ID
    model, eager = (make_model(model_type, changes=changes) for _ in range(2))
    eager.set_attn_implementation("eager")
    needs = Needs(student_cls=frozenset({0, 3}), student_attentions=frozenset({2}))
    pad_id = int(model.config.pad_token_id or 0)
    inputs = pad_rows(rows, pad_id, has_token_types=has_token_types)
    batch = Batch(inputs, torch.zeros(4, dtype=torch.int64), {}, np.arange(4))
    outputs = make_forward(model, needs)(batch)
    assert sorted(outputs.cls) == [0, 3] and sorted(outputs.attentions) == [2]
    assert outputs.mask.sum(1).tolist() == list(LENGTHS)
    for row, n in enumerate(LENGTHS):
        own = own_outputs(eager, rows[row], has_token_types=has_token_types)
        pairs = [
            (outputs.logits[row], own.logits),
            (outputs.cls[0][row], own.cls[0]),
            (outputs.cls[3][row], own.cls[3]),
            (outputs.attentions[2][row, :, :n, :n], own.attentions[1]),
        ]
        for ours, theirs in pairs:
            # Fused and eager kernels round to 24 bits in another order, over three layers.
            torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=1e-5)
    sum(outputs.cls.values()).square().sum().backward()  # type: ignore[union-attr]
    assert any(weight.grad is not None and weight.grad.any() for weight in model.parameters())
