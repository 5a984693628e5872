"""The [CLS] state: exactly the position that each family's head reads."""

import pytest
import torch
from torch import Tensor

from pipeline.models.architecture import head_reads
from pipeline.models.inputs import pad_rows
from pipeline.models.probe import cls_state
from pipeline.text.token_row import TokenRow
from tests.conftest import MODEL_TYPES, PAD_ID, make_model, make_rows

STATES = torch.arange(2 * 4 * 3, dtype=torch.float32).reshape(2, 4, 3)
IDS = torch.tensor([[7, 8, 9, 5], [7, 8, PAD_ID, PAD_ID]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def test_the_first_the_last_and_the_mean() -> None:
    """Catches padding in the mean, and the last column where the last token is meant."""
    assert torch.equal(cls_state(STATES, IDS, MASK, "first", PAD_ID), STATES[:, 0])
    last = torch.stack([STATES[0, 3], STATES[1, 1]])
    assert torch.equal(cls_state(STATES, IDS, MASK, "last", PAD_ID), last)
    mean = torch.stack([STATES[0].mean(0), STATES[1, :2].mean(0)])
    assert torch.equal(cls_state(STATES, IDS, MASK, "mean", PAD_ID), mean)


def test_the_last_token_is_found_by_its_id() -> None:
    """Catches a row that ends in the padding token, whose head reads the token before it."""
    ids = torch.tensor([[7, 8, PAD_ID, 9], [PAD_ID, PAD_ID, PAD_ID, PAD_ID]])
    everything = torch.ones_like(ids)
    expected = torch.stack([STATES[0, 3], STATES[1, 0]])
    assert torch.equal(cls_state(STATES, ids, everything, "last", PAD_ID), expected)
    ids[0, 3] = PAD_ID
    expected[0] = STATES[0, 1]
    assert torch.equal(cls_state(STATES, ids, everything, "last", PAD_ID), expected)


def test_a_mean_of_16_bit_states_keeps_their_bits() -> None:
    """Catches weights of 1/n that are rounded to 8 bits, and scale every value by them."""
    states = torch.ones(1, 11, 3, dtype=torch.bfloat16)
    mask = torch.ones(1, 11, dtype=torch.int64)
    found = cls_state(states, mask, mask, "mean", 0)
    assert found.dtype == torch.bfloat16 and torch.equal(found, torch.ones_like(found))


def influences(
    model_type: str, changes: dict[str, str], rows: list[TokenRow]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far logits and [CLS] follow each last token state, and the mask: (row, token)."""
    model = make_model(model_type, changes=changes)
    pad_id = int(model.config.pad_token_id or 0)
    inputs = pad_rows(rows, pad_id, has_token_types=False)
    outputs = model(**inputs, output_hidden_states=True)
    states = outputs.hidden_states[-1]
    (by_head,) = torch.autograd.grad(outputs.logits.square().sum(), states, retain_graph=True)
    mask = inputs["attention_mask"]
    cls = cls_state(states, inputs["input_ids"], mask, head_reads(model.config), pad_id)
    (by_cls,) = torch.autograd.grad(cls.sum(), states)
    return by_head.abs().sum(-1), by_cls.abs().sum(-1), mask


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [*((name, {}) for name in MODEL_TYPES), ("modernbert", {"classifier_pooling": "mean"})],
)
def test_it_is_what_the_head_depends_on(model_type: str, changes: dict[str, str]) -> None:
    """Catches a rule that is not the head's: the logits follow other states than [CLS]."""
    rows = make_rows((9, 4, 6, 5))
    rows[2][0][-1] = PAD_ID  # an ordinary token but for decoders
    by_head, by_cls, mask = influences(model_type, changes, rows)
    assert (by_head > 0).any(1).all()
    assert torch.equal(by_head > 0, by_cls > 0)
    is_mean = bool(changes)
    assert (by_cls > 0).sum(1).tolist() == (mask.sum(1).tolist() if is_mean else [1] * 4)
