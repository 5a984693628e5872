"""A bidirectional LSTM (Tang et al. 2019, 1903.12136) as a Transformers model, and a tagger.

    a = softmax_t(v · tanh(W h_t + b))    hidden = ReLU(U Σ_t a_t h_t + c)

with h_t the states of both directions at token t, and a linear classifier on `hidden`. What
differs from the paper: word pieces instead of words; an attention-weighted sum of all states
(Yang et al. 2016, N16-1174, equations 5 to 7) where the paper takes each direction's last state;
and n_layers may be more than one. The tagger classifies each h_t, with no sum.

Padding changes nothing, wherever it is. Real tokens move to the front of their row, in order; the
backward direction reads each row reversed within its real length; padding comes last in both and
weighs 0. Weights are given back at the tokens' own places. No sequence is packed, and no length
leaves the device. Without any real token the weighted sum is 0.

This file imports torch and transformers only: `save_pretrained` puts a copy of it beside the
weights, from which `AutoModelForSequenceClassification.from_pretrained(folder,
trust_remote_code=True)` makes the model where Decant is not installed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput, can_return_tuple

# Transformers annotates neither what a model calls of it nor its decorators.
# mypy: allow-untyped-calls, allow-untyped-decorators


class BilstmConfig(PreTrainedConfig):
    """The sizes of a `BilstmForSequenceClassification`; the defaults are Tang et al.'s smaller.

    Raises:
        ValueError: a value that no such model can have; the message names field and value.
    """

    model_type = "bilstm"

    vocab_size: int = 30522
    pad_token_id: int | None = 0
    """Its embedding is zero and stays so."""
    embedding_size: int = 300
    lstm_size: int = 150
    """Of each direction."""
    n_layers: int = 1
    hidden_size: int = 200
    """Of the ReLU layer: the width of `pooler_output`."""
    dropout: float = 0.1
    """Between the LSTM's layers, and of what the classifier reads."""

    def __post_init__(self, **kwargs: Any) -> None:
        for name in ("vocab_size", "embedding_size", "lstm_size", "n_layers", "hidden_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id must be from 0 to {self.vocab_size - 1}, got {self.pad_token_id}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        super().__post_init__(**kwargs)


@dataclass
class BilstmOutput(ModelOutput):
    """What both models return."""

    loss: Tensor | None = None
    """(), where labels were given."""
    logits: Tensor | None = None
    """(batch, label); of the tagger (batch, token, label)."""
    pooler_output: Tensor | None = None
    """(batch, hidden), the ReLU layer before dropout; None of the tagger."""
    attentions: Tensor | None = None
    """(batch, token), each token's weight in the sum: 0 at padding, rows sum to 1. None of the
    tagger."""


class BilstmLayer(nn.Module):
    """One LSTM in each direction, over rows whose real tokens come first."""

    def __init__(self, input_size: int, lstm_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(input_size, lstm_size, batch_first=True)
        self.backwards = nn.LSTM(input_size, lstm_size, batch_first=True)

    def forward(self, states: Tensor, mirror: Tensor) -> Tensor:
        """Return (batch, token, 2 lstm_size); `mirror` (batch, token) reverses real tokens."""
        forwards, _ = self.forwards(states)
        backwards, _ = self.backwards(_take(states, mirror))
        return torch.cat([forwards, _take(backwards, mirror)], dim=-1)


def _take(states: Tensor, places: Tensor) -> Tensor:
    return states.gather(1, places.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


class BilstmEncoder(PreTrainedModel):
    """Embeddings and LSTMs, to which a head is added.

    First weights: embeddings uniform in ±0.25 (the variance of word2vec vectors), LSTMs in
    ±1/√lstm_size, the ReLU layer after He et al. 2015 (1502.01852), the other layers after
    Glorot & Bengio 2010, biases outside the LSTMs 0.
    """

    config_class = BilstmConfig
    config: BilstmConfig

    def __init__(self, config: BilstmConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(
            config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id
        )
        width = 2 * config.lstm_size
        sizes = [config.embedding_size, *[width] * (config.n_layers - 1)]
        self.layers = nn.ModuleList(BilstmLayer(size, config.lstm_size) for size in sizes)
        self.dropout = nn.Dropout(config.dropout)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw first weights; `init` leaves alone what was loaded."""
        if isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -0.25, 0.25)
            is_loaded = getattr(module.weight, "_is_hf_initialized", False)
            if module.padding_idx is not None and not is_loaded:  # a row does not carry the mark
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LSTM):
            bound = module.hidden_size**-0.5
            for weight in module.parameters():
                init.uniform_(weight, -bound, bound)
        elif isinstance(module, nn.Linear):
            if module is self.get_submodule("hidden"):
                init.kaiming_uniform_(module.weight, nonlinearity="relu")
            else:
                init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the embeddings of the word pieces."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embeddings by others of the same width."""
        assert isinstance(value, nn.Embedding)
        self.embeddings = value

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return states (batch, token, 2 lstm_size) of rearranged rows, real tokens first.

        And, each (batch, token): where each token went, and which places are padding now.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        places, mirror, is_padding = _places(mask != 0)
        states = self.embeddings(torch.zeros_like(input_ids).scatter(1, places, input_ids))
        for number, layer in enumerate(self.layers):
            states = layer(self.dropout(states) if number else states, mirror)
        return states, places, is_padding


class BilstmForSequenceClassification(BilstmEncoder):
    """Attention pooling of the states, a ReLU layer and a linear classifier."""

    def __init__(self, config: BilstmConfig) -> None:
        super().__init__(config)
        width = 2 * config.lstm_size
        self.attention = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.hidden = nn.Linear(width, config.hidden_size)
        assert config.num_labels is not None
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> BilstmOutput:
        """Classify each row.

        `input_ids` (batch, token); `attention_mask` (batch, token) is 0 at padding; without it
        all tokens are real. `token_type_ids`, which tokenizers give, is not read. `labels` is
        (batch,) of classes, -100 being ignored (cross-entropy), or of numbers where there is
        one label (squared error), or (batch, label) of 0 and 1 where `config.problem_type` is
        `multi_label_classification` (binary cross-entropy). The loss is a mean.
        """
        states, places, is_padding = self.encode(input_ids, attention_mask)
        scores = self.score(self.attention(states).tanh()).squeeze(-1)
        # Not -inf: a softmax of nothing else is NaN.
        scores = scores.masked_fill(is_padding, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1).masked_fill(is_padding, 0.0)
        hidden = self.hidden((weights.unsqueeze(-1) * states).sum(1)).relu()
        logits = self.classifier(self.dropout(hidden))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return BilstmOutput(
            loss=loss, logits=logits, pooler_output=hidden, attentions=weights.gather(1, places)
        )


class BilstmTaggerConfig(BilstmConfig):
    """The sizes of a `BilstmForTokenClassification`; `hidden_size` is of its ReLU layer."""

    model_type = "bilstm_tagger"


class BilstmForTokenClassification(BilstmEncoder):
    """A ReLU layer and a linear classifier over the state of every token.

    Lample et al. 2016, N16-1030, section 2, without its characters and its CRF.
    """

    config_class = BilstmTaggerConfig

    def __init__(self, config: BilstmTaggerConfig) -> None:
        super().__init__(config)
        self.hidden = nn.Linear(2 * config.lstm_size, config.hidden_size)
        assert config.num_labels is not None
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> BilstmOutput:
        """Label each token.

        Inputs as of `BilstmForSequenceClassification`; `labels` is (batch, token), -100 being
        ignored. The loss is the mean cross-entropy.
        """
        states, places, _ = self.encode(input_ids, attention_mask)
        hidden = self.hidden(_take(states, places)).relu()
        logits = self.classifier(self.dropout(hidden))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, config=self.config)
        return BilstmOutput(loss=loss, logits=logits)


def _places(is_real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how rows are rearranged, each (batch, token).

    First, where each token goes so that real ones come first, in order; then, of the rearranged
    row, which place comes here when the real tokens are reversed, and whether padding is here.
    """
    real = is_real.long()
    lengths = real.sum(1, keepdim=True)
    places = torch.where(is_real, real.cumsum(1), lengths + (1 - real).cumsum(1)) - 1
    here = torch.arange(real.shape[1], device=real.device).expand_as(real)
    is_padding = here >= lengths
    return places, torch.where(is_padding, here, lengths - 1 - here), is_padding


BilstmConfig.register_for_auto_class()
BilstmForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
BilstmTaggerConfig.register_for_auto_class()
BilstmForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
