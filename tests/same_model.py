"""Whether a checkpoint is the model that was saved."""

from typing import Any

import torch
from transformers import PreTrainedModel


@torch.no_grad()
def assert_same_model(loaded: PreTrainedModel, model: PreTrainedModel, **inputs: Any) -> None:
    """Assert that all tensors are the same to the bit, and that the logits agree.

    Logits agree up to the rounding of float32, at `assert_close`'s default tolerance: loaded
    tensors lie at other addresses, for which some processors' kernels sum in another order.
    """
    expected, found = model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys() and expected
    for name, values in expected.items():
        assert torch.equal(found[name], values), name
    logits = (one.eval()(**inputs).logits for one in (loaded, model))
    torch.testing.assert_close(*logits)
