"""Operations against the formulas of the layers, memory against tensors of known size."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from pipeline.evaluate.cost import BATCH_SIZE, Timed, count_weight_bytes
from pipeline.evaluate.work import Work, count_work
from pipeline.student.bilstm import BilstmConfig, BilstmForSequenceClassification
from pipeline.student.text_cnn import TextCnnConfig, TextCnnForSequenceClassification

CPU = torch.device("cpu")
LENGTHS = (3, 9, 5, 30, 7)  # of median 7


def work_of(model: nn.Module) -> Work:
    return count_work(Timed(model, [[1] * length for length in LENGTHS], 0), CPU)


def test_a_transformers_operations_are_those_of_its_formula() -> None:
    """Catches attention that the counter takes for free, and operations of a batch."""
    width, inner, n_layers, n_labels = 16, 32, 3, 2
    config = BertConfig(
        vocab_size=50,
        hidden_size=width,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        intermediate_size=inner,
        num_labels=n_labels,
        max_position_embeddings=64,
    )
    work = work_of(BertForSequenceClassification(config))
    n_tokens = 7
    products = n_tokens * (4 * width * width + 2 * width * inner)
    attention = 2 * n_tokens * n_tokens * width
    head = width * width + width * n_labels
    assert work.n_tokens == n_tokens
    assert work.flops == 2 * (n_layers * (products + attention) + head)


def test_networks_are_not_free() -> None:
    """Catches recurrent layers and convolutions that count nothing."""
    lstm = BilstmForSequenceClassification(
        BilstmConfig(vocab_size=50, embedding_size=8, lstm_size=12, hidden_size=10, num_labels=2)
    )
    gates = 2 * 4 * 12 * (8 + 12)  # two directions of four gates
    assert work_of(lstm).flops >= 2 * 7 * gates
    cnn = TextCnnForSequenceClassification(
        TextCnnConfig(vocab_size=50, embedding_size=8, filter_widths=[3], n_filters=20)
    )
    assert work_of(cnn).flops >= 2 * (7 - 2) * 3 * 8 * 20


class Chain(nn.Module):
    """Makes tensors of known size, of which at most two are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1000))

    def forward(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        values = input_ids.float()
        for _ in range(5):
            values = values + 1
        return values.view(-1)[:3]  # views take no memory


def test_memory_is_weights_and_what_is_alive_at_once() -> None:
    """Catches a sum over all tensors ever made, views counted twice, and weights left out."""
    work = work_of(Chain())
    assert work.n_batch_tokens == 30
    one = BATCH_SIZE * 30 * 4
    assert work.peak_memory_bytes == 4000 + 2 * one


def test_memory_grows_with_the_batch_and_not_with_the_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches memory of an earlier forward that is still counted."""
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    first, second = work_of(model), work_of(model)
    assert first == second
    states = BATCH_SIZE * 30 * 16 * 4
    assert first.peak_memory_bytes > count_weight_bytes(model) + 2 * states
