"""Captures the signal of CONTRIBUTING.md, in the package it was written into, and reads it.

Run as a program, with the folders of a teacher, of its token table, and of the store to write.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

import pipeline
from pipeline.models.inputs import Inputs
from pipeline.objectives.needs import Needs
from pipeline.signals import SIGNALS
from pipeline.signals.signal import Array
from pipeline.store.dataset import TeacherDataset
from pipeline.store.reader import open_store
from pipeline.store_tools.verify import verify_store
from pipeline.text.tokens import open_tokens
from pipeline.train.batches import JoinedSplit
from tests.conftest import capture_store
from tests.signals.test_contract import (
    test_it_is_captured_by_its_settings,
    test_it_is_taken_from_a_forward,
    test_names_are_read_as_they_are_written,
    test_the_page_has_its_arrays,
)


def main(checkpoint: Path, tokens_dir: Path, store_dir: Path) -> None:
    """Test the signal by the contract, capture it, and compare it with its formula."""
    print(pipeline.__file__)
    signal = SIGNALS["mean_state"]
    test_the_page_has_its_arrays(signal)
    test_names_are_read_as_they_are_written(signal)
    test_it_is_captured_by_its_settings(signal)
    test_it_is_taken_from_a_forward(signal)

    tokens = open_tokens(tokens_dir)
    signals = {"mean_state": {"encoding": "float32"}}
    capture_store(store_dir, checkpoint, tokens, signals=signals)
    assert verify_store(store_dir, 1) == []
    store, split = open_store(store_dir), tokens.splits["train"]
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    needs = Needs(teacher=frozenset({Array(signal)}))
    rows = JoinedSplit(split, store, needs, Inputs(0, has_token_types=True))
    batch = rows.read(torch.arange(8).numpy())
    with torch.no_grad():
        states = model(**batch.inputs, output_hidden_states=True).hidden_states[-1]
    expected = torch.stack(
        [state[: split.lengths[row]].mean(0) for row, state in enumerate(states)]
    )
    found = batch.teacher().signals[Array(signal)]
    # Sums in another order, of numbers of size 1.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - found.roll(1, 0)).abs().amax(1).min() > 0.01

    examples = [
        {"input_ids": split.row(row)[0], "token_type_ids": split.row(row)[1]} for row in range(8)
    ]
    dataset = TeacherDataset(examples, store, ["hidden_states/mean"])
    read = torch.stack([dataset[row]["teacher_hidden_states_mean"] for row in range(8)])
    assert torch.equal(read, found)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
