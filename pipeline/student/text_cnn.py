"""A convolutional text classifier (Kim 2014, 1408.5882, section 2) as a Transformers model.

    c_i = w · x_{i:i+h-1} + b    feature = ReLU(max_i c_i)    logits = W dropout(features) + b

Word pieces are embedded, filters of several widths h slide over them, each filter keeps its
largest value, and a linear layer reads those. The embedding is trained along (Kim's CNN-rand; or
CNN-non-static, where it starts from known vectors). What differs from the paper: word pieces
instead of words, and no bound on the norm of the classifier's weights.

Padding on either side changes nothing. Embeddings of padding are zero, width - 1 zeros follow the
row's end, and each real token starts one window. A window that starts at padding is left out of
the maximum: it would read b alone, which can be larger than anything the text says. So a text
shorter than a filter has windows too; without any real token all features are 0.

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


class TextCnnConfig(PreTrainedConfig):
    """The sizes of a `TextCnnForSequenceClassification`; the defaults are Kim's.

    Raises:
        ValueError: a value that no such model can have; the message names field and value.
    """

    model_type = "text_cnn"

    vocab_size: int = 30522
    pad_token_id: int | None = 0
    """Its embedding is zero and stays so."""
    embedding_size: int = 300
    filter_widths: list[int] | tuple[int, ...] = (3, 4, 5)
    """In tokens; each width has its own filters."""
    n_filters: int = 100
    """Of each width."""
    dropout: float = 0.5
    """Of the features that the classifier reads."""

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.filter_widths, list | tuple) or not self.filter_widths:
            raise ValueError(
                f"filter_widths must list at least one width, got {self.filter_widths}"
            )
        self.filter_widths = list(self.filter_widths)  # as JSON gives it back
        for width in self.filter_widths:
            _check_count("filter_widths", width)
        for name in ("vocab_size", "embedding_size", "n_filters"):
            _check_count(name, getattr(self, name))
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id must be from 0 to {self.vocab_size - 1}, got {self.pad_token_id}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        super().__post_init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of `pooler_output`: all filters."""
        return self.n_filters * len(self.filter_widths)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


@dataclass
class TextCnnOutput(ModelOutput):
    """What a `TextCnnForSequenceClassification` returns."""

    loss: Tensor | None = None
    """(), where labels were given."""
    logits: Tensor | None = None
    """(batch, label)."""
    pooler_output: Tensor | None = None
    """(batch, hidden), the features before dropout: filters of the first width, then the next."""


class TextCnnForSequenceClassification(PreTrainedModel):
    """Kim's convolutional classifier.

    First weights: embeddings uniform in ±0.25, whose variance is about that of word2vec vectors
    (as Kim draws unknown words), filters after He et al. 2015 (1502.01852, for ReLU), the
    classifier after Glorot & Bengio 2010, biases 0.
    """

    config_class = TextCnnConfig
    config: TextCnnConfig

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(
            config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id
        )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_size, config.n_filters, width)
            for width in config.filter_widths
        )
        self.dropout = nn.Dropout(config.dropout)
        assert config.num_labels is not None
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Draw first weights; `init` leaves alone what was loaded."""
        if isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -0.25, 0.25)
            is_loaded = getattr(module.weight, "_is_hf_initialized", False)
            if module.padding_idx is not None and not is_loaded:  # a row does not carry the mark
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.Conv1d):
            init.kaiming_uniform_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the embeddings of the word pieces."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embeddings by others of the same width."""
        assert isinstance(value, nn.Embedding)
        self.embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> TextCnnOutput:
        """Classify each row.

        `input_ids` (batch, token); `attention_mask` (batch, token) is 0 at padding, which is at
        one end of a row; without it all tokens are real. `token_type_ids`, which tokenizers
        give, is not read. `labels` is (batch,) of classes, -100 being ignored (cross-entropy),
        or of numbers where there is one label (squared error), or (batch, label) of 0 and 1
        where `config.problem_type` is `multi_label_classification` (binary cross-entropy). The
        loss is a mean.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        is_padding = mask == 0
        embedded = self.embeddings(input_ids).masked_fill(is_padding.unsqueeze(-1), 0.0)
        features = torch.cat(
            [_largest(conv, embedded.mT, is_padding) for conv in self.convolutions], dim=1
        ).relu()
        logits = self.classifier(self.dropout(features))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return TextCnnOutput(loss=loss, logits=logits, pooler_output=features)


def _largest(convolution: nn.Module, embedded: Tensor, is_padding: Tensor) -> Tensor:
    """Return each filter's largest value over the windows that start at a real token.

    `embedded` is (batch, embedding, token), the result (batch, filter), -inf where a row has no
    such window. ReLU may follow the maximum instead of the filter, because it is monotone.
    """
    assert isinstance(convolution, nn.Conv1d)
    after_end = (0, convolution.kernel_size[0] - 1)
    values: Tensor = convolution(nn.functional.pad(embedded, after_end))
    return values.masked_fill(is_padding.unsqueeze(1), -torch.inf).amax(-1)


TextCnnConfig.register_for_auto_class()
TextCnnForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
