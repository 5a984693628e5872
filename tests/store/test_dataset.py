"""The teacher's signals beside examples that somebody else's code trains on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import BatchEncoding, DataCollatorWithPadding, PreTrainedTokenizerFast

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import StoreIncompleteError
from pipeline.store.dataset import SignalCollator, TeacherDataset, field_name
from pipeline.store.reader import open_store
from pipeline.store.row_values import read_ragged
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store, shift_store

SIGNALS = ("logits", "cls", "hidden_states/03", "attentions/02", "attentions/04")
FIELDS = [
    "teacher_logits",
    "teacher_cls",
    "teacher_hidden_states_03",
    "teacher_attentions_02",
    "teacher_attentions_04",
]


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, tokens: Tokens) -> Path:
    """A store of every kind of signal; not to be changed."""
    signals = {"attentions": {"layers": (2, 4)}, "hidden_states": {"layers": (3,)}}
    folder = tmp_path_factory.mktemp("signals") / "store"
    return capture_store(folder, checkpoint, tokens, signals=signals)


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> PreTrainedTokenizerFast:
    """The teacher's."""
    return load_tokenizer(checkpoint)


def tokenise(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> BatchEncoding:
    """Tokenise as a user does."""
    return tokenizer(list(texts), truncation=True, max_length=64)


@pytest.fixture(scope="module")
def examples(tokens: Tokens, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """The validation texts with their labels, tokenised by the user."""
    split = tokens.splits["validation"]
    encoded = tokenise(tokenizer, split.table["text"].to_pylist())
    return Dataset.from_dict({**encoded, "labels": split.labels.tolist()})


def test_every_example_gets_its_own_signals(
    store_dir: Path, examples: Dataset, tokens: Tokens
) -> None:
    """Catches signals of another row, a field that replaces another, and lost own fields."""
    store = open_store(store_dir)
    data = TeacherDataset(examples, store, SIGNALS)
    rows = store.find(tokens.splits["validation"].keys)
    expected = read_ragged(store, rows, SIGNALS)
    assert len(data) == len(examples) == 30
    assert [field_name(name) for name in SIGNALS] == FIELDS
    for index in (29, 0, 7):
        example = data[index]
        assert set(example) == {*examples.column_names, *FIELDS}
        assert example["input_ids"] == examples[index]["input_ids"]
        for name, field in zip(SIGNALS, FIELDS, strict=True):
            assert torch.equal(example[field], expected[name][index])
    dicts = TeacherDataset(examples.to_list(), store, SIGNALS)
    assert torch.equal(dicts[7]["teacher_cls"], data[7]["teacher_cls"])


def test_signals_of_a_shifted_store_are_others(
    even_store: Path, tmp_path: Path, even_tokens: Tokens, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Shows that the comparison above can fail: every array one row late gives other values."""
    texts = even_tokens.splits["validation"].table["text"].to_pylist()
    examples = Dataset.from_dict(dict(tokenise(tokenizer, texts)))
    shifted = open_store(shift_store(even_store, tmp_path / "shifted"))
    right, wrong = (TeacherDataset(examples, store) for store in (open_store(even_store), shifted))
    assert not torch.equal(right[3]["teacher_cls"], wrong[3]["teacher_cls"])


def test_missing_examples_are_counted_at_once(store_dir: Path, examples: Dataset) -> None:
    """Catches a run that stops hours later, at the first batch with a missing row."""
    cut = [{"input_ids": example["input_ids"]} for example in examples.to_list()]
    for index in (4, 9):
        cut[index] = {"input_ids": cut[index]["input_ids"][:-1]}
    with pytest.raises(
        StoreIncompleteError,
        match=r"lacks 2 of 30 examples, the first is number 4\. .*max_length=64",
    ):
        TeacherDataset(cut, open_store(store_dir))


def test_a_signal_that_was_not_captured_is_named(store_dir: Path, examples: Dataset) -> None:
    """Catches a run that stops at its first batch, or trains without the signal."""
    with pytest.raises(
        StoreIncompleteError, match=r"holds attentions/02, .*, logits, and lacks attentions/03\."
    ):
        TeacherDataset(examples, open_store(store_dir), ["logits", "attentions/03"])


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_follows_the_batch(
    store_dir: Path, examples: Dataset, checkpoint: Path, side: str
) -> None:
    """Catches maps whose tokens are not those of `input_ids` at the same positions."""
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.padding_side = side
    data = TeacherDataset(examples, open_store(store_dir), SIGNALS)
    chosen = data.__getitems__([0, 1, 2, 3])
    batch = SignalCollator(DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8))(chosen)
    n = batch["input_ids"].shape[1]
    mask = batch["attention_mask"].bool()
    assert n % 8 == 0 and not mask.all() and len({len(e["input_ids"]) for e in chosen}) > 1
    assert batch["labels"].tolist() == [example["labels"] for example in chosen]
    assert batch["teacher_logits"].shape == (4, 2)
    assert batch["teacher_cls"].shape == (4, 5, 16)
    assert batch["teacher_hidden_states_03"].shape == (4, n, 16)
    assert batch["teacher_attentions_02"].shape == (4, 4, n, n)
    for place, example in enumerate(chosen):
        real = mask[place]
        states = batch["teacher_hidden_states_03"][place]
        maps = batch["teacher_attentions_02"][place]
        assert torch.equal(states[real], example["teacher_hidden_states_03"])
        assert not states[~real].any()
        assert torch.equal(maps[:, real][:, :, real], example["teacher_attentions_02"])
        assert not maps[:, ~real].any() and not maps[:, :, ~real].any()


def test_maps_averaged_over_heads_are_padded(tokenizer: PreTrainedTokenizerFast) -> None:
    """Catches a field that is named or padded as if its first axis were heads."""
    maps = [torch.rand(length, length) for length in (3, 5)]
    field = field_name("attentions/04-mean")
    assert field == "teacher_attentions_04_mean"
    examples = [{"input_ids": [5] * len(mean), field: mean} for mean in maps]
    padded = SignalCollator(DataCollatorWithPadding(tokenizer))(examples)[field]
    assert padded.shape == (2, 5, 5)
    assert torch.equal(padded[0, :3, :3], maps[0]) and torch.equal(padded[1], maps[1])
    assert float(padded.sum()) == pytest.approx(float(maps[0].sum() + maps[1].sum()))


@pytest.mark.parametrize("start", ["fork", "spawn"])
# Python warns of forks in a process with threads; DataLoader forks by default.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_read_the_same(
    store_dir: Path, examples: Dataset, tokenizer: PreTrainedTokenizerFast, start: str
) -> None:
    """Catches a store that cannot be passed to a worker, or reads there through stale maps."""
    data = TeacherDataset(examples, open_store(store_dir), SIGNALS)
    collator = SignalCollator(DataCollatorWithPadding(tokenizer))
    expected = [
        collator(data.__getitems__(list(range(first, first + 10)))) for first in (0, 10, 20)
    ]
    loader: DataLoader[dict[str, Any]] = DataLoader(
        data, batch_size=10, collate_fn=collator, num_workers=1, multiprocessing_context=start
    )
    batches = list(loader)
    assert len(batches) == 3
    for batch, wanted in zip(batches, expected, strict=True):
        assert set(batch) == set(wanted)
        assert all(torch.equal(batch[name], wanted[name]) for name in wanted)
