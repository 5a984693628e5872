"""What a model says of the word pieces that a split asks for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import pipeline.models.predict
from pipeline.core.checkpoint import load_tokenizer
from pipeline.models.head import load_trained
from pipeline.models.inputs import Inputs, ModelRows, pad_rows
from pipeline.models.predict import Share, predict
from pipeline.tasks import TASKS
from pipeline.tasks.pieces import in_classes
from pipeline.tasks.task import Kind
from pipeline.text.tokens import TokenSplit
from tests.tasks.small_tasks import make_teacher, make_tokens

K = 4


class Case:
    """A random model of a kind, and the rows that it is asked about."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        teacher = make_teacher(folder / "teacher", kind)
        self.task = TASKS[kind]
        self.split: TokenSplit = make_tokens(folder, kind, teacher).splits["train"]
        tokenizer = load_tokenizer(teacher)
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        self.rows = ModelRows(self.split, tokenizer, Inputs(0, has_token_types=False))
        self.model: PreTrainedModel = load_trained(teacher, TASKS[kind]).eval()
        generator = torch.Generator().manual_seed(0)
        n_targets = len(self.split.labels)
        self.pieces = torch.rand(n_targets, 32, generator=generator).argsort(1)[:, :K]

    def pieces_of(self, rows: np.ndarray) -> Tensor:
        return self.pieces[torch.from_numpy(self.split.label_places(rows))]

    def one_by_one(self) -> Tensor:
        """Return the logits of every target, (target, piece), from rows that are alone."""
        logits = []
        with torch.inference_mode():
            for row in range(len(self.split)):
                inputs = pad_rows([self.split.row(row)], 0, has_token_types=False)
                logits.append(self.model(**inputs).logits)
        return torch.cat(logits)


@pytest.fixture(scope="module", params=["masked_lm", "sequence_to_sequence"])
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    yield Case(tmp_path_factory.mktemp("pieces"), request.param)


@pytest.mark.parametrize("most", [1, 7, 1024])
def test_every_target_has_what_the_model_says_of_it_alone(
    case: Case, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches targets of other rows, and more logits at a time than there is room for."""
    monkeypatch.setattr(pipeline.models.predict, "_PREDICTION_TARGETS", most)
    counts: list[int] = []
    projection = case.model.get_output_embeddings()
    handle = projection.register_forward_hook(lambda *call: counts.append(len(call[-1])))
    found = predict(case.model, case.rows, case.task, (), top_of=case.pieces_of)
    handle.remove()
    assert sum(counts) == len(case.split.labels)
    assert max(counts) <= max(most, case.split.n_targets.max())
    logits = case.one_by_one()
    right = logits.log_softmax(1).gather(1, torch.tensor(case.split.labels)[:, None])[:, 0]
    # Float32 sums in another order: a batch is padded, a single row is not.
    assert found.in_vocabulary is not None
    np.testing.assert_allclose(found.in_vocabulary.of_label, right, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.predicted, logits.argmax(1))
    expected = in_classes(logits, case.pieces)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-5)


def test_shares_of_processes_add_up(case: Case) -> None:
    """Catches a row that no process computes, or two."""
    whole, *shares = (
        predict(case.model, case.rows, case.task, (), share=share).in_vocabulary
        for share in (Share(), *(Share(rank, 3) for rank in range(3)))
    )
    assert whole is not None
    total = sum(share.of_label for share in shares if share is not None)
    np.testing.assert_allclose(total, whole.of_label, rtol=1e-5, atol=1e-5)
    first = sum(share.first for share in shares if share is not None)
    np.testing.assert_array_equal(first, whole.first)
