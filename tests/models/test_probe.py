"""What a probe gives of a model against the model's own outputs, for every model type."""

import pytest
import torch

from pipeline.models.inputs import Inputs
from pipeline.models.probe import Probe
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS
from pipeline.signals.signal import Array
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
    inputs = Inputs(int(model.config.pad_token_id or 0), has_token_types)
    first, last, maps = Array(CLS, 0), Array(CLS, 3), Array(ATTENTIONS, 2)
    probe = Probe(model, [first, last, maps])
    forward = probe(inputs.pad(rows))
    found = probe.take(forward)
    assert list(found) == [first, last, maps]
    assert forward.masks["token"].sum(1).tolist() == list(LENGTHS)
    for row, n in enumerate(LENGTHS):
        own = own_outputs(eager, rows[row], has_token_types=has_token_types)
        pairs = [
            (forward.logits[row], own.logits),
            (found[first][row], own.cls[0]),
            (found[last][row], own.cls[3]),
            (found[maps][row, :, :n, :n], own.attentions[1]),
        ]
        for ours, theirs in pairs:
            # Fused and eager kernels round to 24 bits in another order, over three layers.
            torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=1e-5)
    (found[first] + found[last]).square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.parameters())
