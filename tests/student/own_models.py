"""Tiny students of the project's own architectures, and batches for them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from pipeline.student.bilstm import BilstmConfig, BilstmForSequenceClassification
from pipeline.student.text_cnn import TextCnnConfig, TextCnnForSequenceClassification

PAD_ID = 2
ROUNDING = 1e-11
"""Of float64 sums of some 100 terms of up to 100, whose order depends on the batch's shape:
100 x 100 x 2**-53 is 1e-12, and two or three such sums follow each other."""


class OwnModel(NamedTuple):
    """An architecture, with sizes of a tiny model of it."""

    config_class: type[PreTrainedConfig]
    model_class: type[PreTrainedModel]
    sizes: dict[str, Any]


OWN_MODELS = {
    "text_cnn": OwnModel(
        TextCnnConfig,
        TextCnnForSequenceClassification,
        {"filter_widths": [2, 3, 5], "n_filters": 4},
    ),
    "bilstm": OwnModel(
        BilstmConfig,
        BilstmForSequenceClassification,
        {"lstm_size": 5, "n_layers": 2, "hidden_size": 7},
    ),
}


def make_config(name: str, **options: Any) -> PreTrainedConfig:
    """Return a config for 32 word pieces, three labels unless `options` say otherwise."""
    labels = {} if "id2label" in options else {"num_labels": 3}
    sizes = {"vocab_size": 32, "pad_token_id": PAD_ID, "embedding_size": 6, **labels}
    return OWN_MODELS[name].config_class(**{**sizes, **OWN_MODELS[name].sizes, **options})


def make_own(name: str, **options: Any) -> Any:
    """Return a random model in evaluation mode; its dropout is on in training."""
    torch.manual_seed(3)
    return OWN_MODELS[name].model_class(make_config(name, **options)).eval()


def with_large_biases(model: PreTrainedModel) -> Any:
    """Return the model in float64, with biases of 100 and -100 in turn.

    Those inside an LSTM's gates and the attention's tanh are 1 and -1: 100 would saturate them,
    and the model would say the same whatever it reads.
    """
    model = model.double()
    biases = {name: values for name, values in model.named_parameters() if "bias" in name}
    assert biases
    with torch.no_grad():
        for name, values in biases.items():
            size = 1.0 if name.startswith(("layers.", "attention.")) else 100.0
            values.copy_(size * (-1.0) ** torch.arange(len(values)))
    return model


def make_texts(lengths: tuple[int, ...]) -> list[list[int]]:
    """Return rows of random token ids of these lengths; none is padding."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(5, 32, (length,), generator=generator).tolist() for length in lengths]


def pad(texts: list[list[int]], width: int, *, side: str) -> dict[str, Tensor]:
    """Return ids and mask of texts padded on one side, with another token than PAD_ID as well.

    What stands at padding must not matter, so every second padded place holds token 9.
    """
    ids = torch.full((len(texts), width), PAD_ID)
    ids[:, ::2] = 9
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        start = width - len(text) if side == "left" else 0
        ids[row, start : start + len(text)] = torch.tensor(text)
        mask[row, start : start + len(text)] = 1
    return {"input_ids": ids, "attention_mask": mask}
