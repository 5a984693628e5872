"""A language model is asked for the pieces of some places, and computes no others."""

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BertConfig,
    BertModel,
    DistilBertConfig,
    ElectraConfig,
    MarianConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    T5Config,
)

from pipeline.core.errors import CheckpointError
from pipeline.models.head import AtTargets
from pipeline.models.inputs import pad_rows
from tests.asked_rows import decoded_rows, masked_rows

SIZE = {"vocab_size": 32, "pad_token_id": 0}
BERT = SIZE | {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
BART = SIZE | {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "decoder_start_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "forced_eos_token_id": 2,
}
MASKED = [
    BertConfig(**BERT),
    RobertaConfig(**BERT),
    ElectraConfig(**BERT, embedding_size=8),
    AlbertConfig(**BERT, embedding_size=8),
    DistilBertConfig(**SIZE, dim=16, n_layers=1, n_heads=2, hidden_dim=16),
]
DECODING = [
    T5Config(**SIZE, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2),
    BartConfig(**BART),
    MarianConfig(**BART),
]


def model_of(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForMaskedLM
    model = kind.from_config(config).eval()
    assert isinstance(model, PreTrainedModel)
    return model


@pytest.mark.parametrize("config", [*MASKED, *DECODING], ids=lambda config: config.model_type)
def test_logits_are_those_of_the_targets_alone(config: PreTrainedConfig) -> None:
    """Catches logits of other places, in another order, or of all of them."""
    model = model_of(config)
    rows = decoded_rows([(9, 3), (4, 7)]) if config.is_encoder_decoder else masked_rows([9, 4, 6])
    inputs = pad_rows(rows, 0, has_token_types=False)
    is_target = inputs.pop("is_target")
    with torch.inference_mode():
        wanted = model(**inputs).logits[is_target]
        AtTargets(model)
        found = model(**inputs, is_target=is_target).logits
        again = model(**inputs).logits
    assert found.shape == (sum(len(row.asked.pieces) for row in rows if row.asked), 32)
    assert torch.equal(found, wanted)
    assert again.ndim == 3, "a call without targets gives every token's logits"


@pytest.mark.parametrize("config", DECODING, ids=lambda config: config.model_type)
def test_a_row_that_asks_for_nothing_disturbs_no_other(config: PreTrainedConfig) -> None:
    """Catches attention over no token at all, whose not-a-numbers spoil gradients."""
    model = model_of(config)
    AtTargets(model)
    first, empty = decoded_rows([(5, 3), (6, 0)])
    alone = model(**pad_rows([first], 0, has_token_types=False)).logits
    both = model(**pad_rows([first, empty], 0, has_token_types=False)).logits
    assert both.shape == (3, 32)
    # The same numbers in another order of sums.
    torch.testing.assert_close(both, alone, rtol=1e-5, atol=1e-6)
    both.square().sum().backward()
    assert all(w.grad is None or torch.isfinite(w.grad).all() for w in model.parameters())


def test_a_model_without_a_vocabulary_is_refused() -> None:
    """Catches an encoder alone, which would fail in the first batch."""
    with pytest.raises(CheckpointError, match="BertModel has no output embeddings"):
        AtTargets(BertModel(BertConfig(**BERT)))
