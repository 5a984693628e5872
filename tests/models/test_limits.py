"""What a model can read: token ids, token types and positions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from pipeline.models.limits import most_tokens, n_token_ids, n_token_types, unreadable
from pipeline.text.tokens import Tokens
from tests import two_stacks
from tests.conftest import MODEL_TYPES, make_model
from tests.two_stacks import make_two_stacks

TYPED = ("bert", "roberta", "xlm-roberta", "electra", "albert")


@pytest.mark.parametrize("kind", TYPED)
@torch.no_grad()
def test_a_model_reads_as_many_types_and_ids_as_is_said(kind: str) -> None:
    """Catches a limit that is off, and a model that has none."""
    model = make_model(kind, changes={"type_vocab_size": 1})
    assert n_token_types(model.config) == 1 and n_token_ids(model.config) == 32
    ids, types = torch.full((1, 4), 31), torch.zeros(1, 4, dtype=torch.long)
    assert model(ids, token_type_ids=types).logits.isfinite().all()
    for inputs in ((ids, types + 1), (ids + 1, types)):
        with pytest.raises(IndexError):
            model(inputs[0], token_type_ids=inputs[1])


@pytest.mark.parametrize("kind", sorted(set(MODEL_TYPES) - set(TYPED)))
@torch.no_grad()
def test_a_model_without_types_reads_any(kind: str) -> None:
    """Catches pairs that are refused where the second text's type is not looked at."""
    model = make_model(kind)
    assert n_token_types(model.config) is None
    types = torch.full((1, 4), 3)
    assert model(torch.full((1, 4), 31), token_type_ids=types).logits.isfinite().all()


@pytest.mark.parametrize("kind", two_stacks.TYPES)
@torch.no_grad()
def test_both_stacks_have_their_limits(kind: str) -> None:
    """Catches a text that is longer than the positions of either stack."""
    model = make_two_stacks(kind)
    most = None if kind in ("t5", "mt5") else 32
    assert most_tokens(model.config) == most
    assert n_token_ids(model.config) == two_stacks.VOCABULARY
    for long, short in ((most or 100, 3), (3, most or 100)):
        ids, written = (torch.full((1, length), 7) for length in (long, short))
        assert model(input_ids=ids, decoder_input_ids=written).logits.isfinite().all()
    if most is not None:
        for long, short in ((most + 1, 3), (3, most + 1)):
            ids, written = (torch.full((1, length), 7) for length in (long, short))
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=ids, decoder_input_ids=written)


def config_of(kind: str = "bert", **sizes: int) -> Any:
    """Return a config with embeddings for 32 token ids, 64 positions and two types."""
    return AutoConfig.for_model(
        kind, **{"vocab_size": 32, "max_position_embeddings": 64, "type_vocab_size": 2, **sizes}
    )


def test_rows_are_held_against_the_model(tokens: Tokens) -> None:
    """Catches an index out of range at the first row that has it, hours into a capture."""

    def fault(kind: str = "bert", **sizes: int) -> str:
        found = unreadable(config_of(kind, **sizes), tokens.splits, has_token_types=True)
        return found or ""

    longest = max(int(split.lengths.max()) for split in tokens.splits.values())
    highest = max(int(split.input_ids.max()) for split in tokens.splits.values())
    assert fault() == ""
    assert fault(max_position_embeddings=longest, vocab_size=highest + 1) == ""
    short = fault(max_position_embeddings=longest - 1)
    assert f"rows of up to {longest} tokens, and the model reads at most {longest - 1}. " in short
    assert f"Set tokenizer.max_length to {longest - 1} or less" in short
    offset = {"max_position_embeddings": longest + 2, "pad_token_id": 1}
    assert fault("roberta", **offset) == ""
    offset["pad_token_id"] = 2
    assert f"the model reads at most {longest - 1}" in fault("roberta", **offset)
    few = fault(vocab_size=highest)
    assert f"has token id {highest}, and the model has embeddings of {highest} " in few


def test_types_count_where_they_are_read(tokens: Tokens) -> None:
    """Catches pairs for a model of one type, and types that nobody gives it."""
    split = tokens.splits["validation"]
    typed = {"validation": replace(split, token_type_ids=np.ones_like(split.token_type_ids))}
    assert unreadable(config_of(), typed, has_token_types=True) is None
    one = config_of(type_vocab_size=1)
    assert unreadable(one, typed, has_token_types=False) is None
    fault = unreadable(one, typed, has_token_types=True)
    assert fault is not None and "validation has tokens of type 1, and the model has" in fault
    assert unreadable(config_of("distilbert"), typed, has_token_types=True) is None
