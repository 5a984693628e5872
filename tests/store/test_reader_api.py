"""What other teams' code asks of a store: does it fit, what does it have, give it to me."""

import math
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import StoreIncompleteError, StoreMismatchError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.models.architecture import Architecture
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Encoding
from pipeline.store.encoding import TORCH_TYPES
from pipeline.store.example_keys import keys_of
from pipeline.store.reader import RecycledMemory, TeacherStore, open_store
from pipeline.store.row_table import RowTable
from pipeline.store.row_values import array_names, iterate, read_padded, read_ragged
from pipeline.store.writer import create_store
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store, make_tokenizer
from tests.store.small_store import IDENTITY
from tests.store.small_store import keys_of as keys_of_numbers

TEACHER = Architecture(
    model_type="bert", n_layers=1, n_heads=2, hidden_size=3, n_labels=2, head_reads="first"
)
STATES, MAPS, MEANS = (
    Array(HIDDEN_STATES, 0),
    Array(ATTENTIONS, 1),
    Array(ATTENTIONS, 1, "mean"),
)
ENCODINGS: dict[Array, Encoding] = {
    Array(LOGITS): "float32",
    CLS_STATES: "bfloat16",
    STATES: "float16",
    MAPS: "uint8_cbrt",
    MEANS: "float16",
}
SEGMENTS = ([3, 1], [2, 4, 1])
LENGTHS = [length for lengths in SEGMENTS for length in lengths]


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rows in two segments with every kind of array; not to be changed."""
    folder = tmp_path_factory.mktemp("every") / "store"
    writer = create_store(folder, IDENTITY, TEACHER, 4, {})
    first = 0
    for number, lengths in enumerate(SEGMENTS):
        numbers = range(first, first + len(lengths))
        first += len(lengths)
        table = RowTable(keys_of_numbers(numbers), np.array(lengths, dtype=np.int64))
        draft = writer.add_segment(f"{number:05d}", table)
        for array, encoding in ENCODINGS.items():
            parts = [stored(array, *row) for row in zip(numbers, lengths, strict=True)]
            values = torch.cat([part.reshape(-1) for part in parts])
            if encoding == "bfloat16":
                values = values.view(torch.uint16)
            draft.write_array(array, values.numpy().reshape(draft.shape(array)), encoding)
        draft.commit()
    return folder


def stored(array: Array, row: int, length: int) -> Tensor:
    """Return what is stored for a row, in the shape that a user expects."""
    shape = {
        Array(LOGITS): (2,),
        CLS_STATES: (2, 3),
        STATES: (length, 3),
        MAPS: (2, length, length),
        MEANS: (length, length),
    }[array]
    numbers = 16 * row + torch.arange(math.prod(shape)).view(shape)
    return (numbers + 1).to(TORCH_TYPES[ENCODINGS[array]])


def expected(array: Array, row: int, length: int) -> Tensor:
    """Return what a user has to get for it."""
    values = stored(array, row, length).float()
    if array == MAPS:
        values = (values / 255) ** 3
        return values / values.sum(-1, keepdim=True)
    return values


@pytest.mark.parametrize("rows", [[0], [4, 0, 3], [1, 1], [0, 1, 2, 3, 4]])
def test_rows_have_their_own_shapes_and_values(store_dir: Path, rows: list[int]) -> None:
    """Catches axes in another order, and a row that begins at another's values."""
    store = open_store(store_dir)
    assert array_names(store) == sorted(array.name for array in ENCODINGS)
    read = read_ragged(store, rows)
    assert set(read) == set(array_names(store))
    for array in ENCODINGS:
        assert len(read[array.name]) == len(rows)
        for row, values in zip(rows, read[array.name], strict=True):
            # Both divide by a sum of at most four numbers of float32, in any order.
            tolerance = 4 * torch.finfo(torch.float32).eps if array == MAPS else 0
            wanted = expected(array, row, LENGTHS[row])
            torch.testing.assert_close(values, wanted, rtol=tolerance, atol=0)


def test_padding_is_zero_behind_every_row(store_dir: Path) -> None:
    """Catches a padded map whose rows are shifted by the shorter row's missing tokens."""
    store = open_store(store_dir)
    rows = [3, 0, 1]
    ragged, padded = read_ragged(store, rows), read_padded(store, rows)
    assert padded["logits"].shape == (3, 2)
    assert padded["cls"].shape == (3, 2, 3)
    assert padded["hidden_states/00"].shape == (3, 4, 3)
    assert padded["attentions/01"].shape == (3, 2, 4, 4)
    assert padded["attentions/01-mean"].shape == (3, 4, 4)
    for place, row in enumerate(rows):
        n = LENGTHS[row]
        assert torch.equal(
            padded["attentions/01"][place, :, :n, :n], ragged["attentions/01"][place]
        )
        assert torch.equal(
            padded["attentions/01-mean"][place, :n, :n], ragged["attentions/01-mean"][place]
        )
        assert torch.equal(padded["hidden_states/00"][place, :n], ragged["hidden_states/00"][place])
        assert not padded["attentions/01"][place, :, n:].any()
        assert not padded["attentions/01"][place, :, :, n:].any()
        assert not padded["hidden_states/00"][place, n:].any()


def test_only_the_arrays_asked_for_are_read(store_dir: Path) -> None:
    """Catches reading hidden states, the largest signal, for a run that wants logits."""
    store = open_store(store_dir)
    assert set(read_padded(store, [0], ["logits"])) == {"logits"}
    with pytest.raises(ValueError, match="'attention/01' is not an array"):
        read_padded(store, [0], ["attention/01"])


def test_all_rows_come_once_in_the_stores_order(store_dir: Path) -> None:
    """Catches rows lost at the end of a segment or of a batch."""
    store = open_store(store_dir)
    batches = list(iterate(store, ["logits", "attentions/01"], batch_size=2))
    assert [len(keys) for keys, _ in batches] == [2, 2, 1]
    assert np.concatenate([keys for keys, _ in batches]).tolist() == store.keys.tolist()
    maps = [row for _, values in batches for row in values["attentions/01"]]
    together = read_ragged(store, range(5), ["attentions/01"])["attentions/01"]
    assert len(maps) == 5
    assert all(torch.equal(*pair) for pair in zip(maps, together, strict=True))


@pytest.mark.parametrize("rows", [[-1], [0, 5]])
def test_a_row_that_is_not_there_is_refused(store_dir: Path, rows: list[int]) -> None:
    """Catches the -1 of a missing key being read as the last row."""
    with pytest.raises(IndexError, match=rf"rows {min(rows)} to {max(rows)}: .* has rows 0 to 4"):
        open_store(store_dir).logits(rows)


def test_no_rows_are_no_values(store_dir: Path) -> None:
    """Catches a crash for a batch in which nothing was found."""
    assert open_store(store_dir).logits([]).shape == (0, 2)
    assert open_store(store_dir).attentions([], 1).shape == (0,)


def test_values_are_the_callers_own(store_dir: Path) -> None:
    """Catches a reader that hands out its maps: in-place work would change later reads."""
    store = open_store(store_dir)
    for read in (store.logits, store.cls):
        before = read([0]).clone()
        read([0]).zero_()
        assert before.any()
        assert torch.equal(read([0]), before)
    signal = store.read(MEANS, [0])
    signal.values.fill_(7)
    assert (store.read(MEANS, [0]).values != 7).any()


def test_a_pickled_store_has_no_rows_in_it(store_dir: Path) -> None:
    """Catches gigabytes that are copied to every worker of a DataLoader."""
    store = open_store(store_dir)
    small = len(pickle.dumps(store))
    before = read_padded(store, range(5))
    store.find(store.keys)
    content = pickle.dumps(store)
    assert len(content) == small
    copy = pickle.loads(content)
    assert isinstance(copy, TeacherStore)
    read = read_padded(copy, range(5))
    assert all(torch.equal(read[name], before[name]) for name in before)


def test_memory_is_used_again_only_when_nobody_holds_it() -> None:
    """Catches a batch that changes under its owner when the next one is read."""
    memory = RecycledMemory()
    first, second = (memory.take(2**20) for _ in range(2))
    first.fill(1)
    second.fill(2)
    held = torch.from_numpy(first.view(np.float16))[8:24].view(4, 4)
    address = second.ctypes.data
    assert first.ctypes.data != address
    del first, second
    again = memory.take(2**20 - 5)
    assert again.ctypes.data == address
    again.fill(3)
    memory.take(2**20).fill(4)
    assert held.view(torch.uint8).unique().tolist() == [1]
    assert again.tolist()[:2] == [3, 3]


@pytest.fixture
def few_files() -> Iterator[None]:
    """Allow this process few more open files than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 8, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_store_may_have_more_files_than_a_process(tmp_path: Path, few_files: None) -> None:
    """Catches a reader that keeps a file open for each array of each segment."""
    writer = create_store(tmp_path / "store", IDENTITY, TEACHER, 1, {})
    for number in range(20):
        table = RowTable(keys_of_numbers([number]), np.ones(1, dtype=np.int64))
        draft = writer.add_segment(f"{number:05d}", table)
        draft.write_array(Array(LOGITS), np.full((1, 2), number, np.float32), "float32")
        draft.commit()
    store = open_store(tmp_path / "store")
    assert store.logits(range(20))[:, 0].tolist() == list(range(20))


def test_coverage_says_what_is_there(store_dir: Path) -> None:
    """Catches found and missing being exchanged, and an exception where a question was asked."""
    coverage = open_store(store_dir).coverage(keys_of_numbers([4, 77, 0, 99]))
    assert coverage.rows.tolist() == [4, -1, 0, -1]
    assert coverage.found.tolist() == [0, 2]
    assert coverage.missing.tolist() == [1, 3]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, tokens: Tokens) -> Path:
    """A store of the tiny teacher; not to be changed."""
    return capture_store(tmp_path_factory.mktemp("captured") / "store", checkpoint, tokens)


def test_a_fitting_tokenizer_and_data_set_pass(captured: Path, checkpoint: Path) -> None:
    """Catches a check that refuses a tokenizer because it was used, or loaded elsewhere."""
    store = open_store(captured)
    tokenizer = load_tokenizer(captured / "teacher")
    tokenizer(["the film"], padding="max_length", truncation=True, max_length=16)
    store.check(tokenizer=tokenizer, labels=["negative", "positive"], max_length=64)
    store.check(tokenizer=load_tokenizer(checkpoint))
    store.check()


def test_every_difference_is_named_with_both_values(captured: Path, tmp_path: Path) -> None:
    """Catches a check that ends at the first difference, or compares labels without order."""
    store = open_store(captured)
    make_tokenizer(tmp_path, ("other", "words"))
    other = load_tokenizer(tmp_path)
    with pytest.raises(StoreMismatchError) as caught:
        store.check(tokenizer=other, labels=["positive", "negative"], max_length=32)
    stored = store.manifest.identity.tokenizer[:12]
    assert str(caught.value) == (
        f"{captured} was captured with labels=negative, positive, now positive, negative; "
        f"tokenizer={stored}, now {digest_tokenizer(other)[:12]}; max_length=64, now 32. "
        "Use the store's tokenizer (in its folder 'teacher'), labels and length limit, or a "
        "store captured with yours."
    )


def test_keys_of_ones_own_examples_are_the_stores(
    captured: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches keys that depend on padding, on the container or on a shuffled dataset's order."""
    store, split = open_store(captured), tokens.splits["validation"]
    texts = split.table["text"].to_pylist()
    tokenizer = load_tokenizer(checkpoint)
    plain = tokenizer(texts, truncation=True, max_length=64)
    padded = tokenizer(texts, truncation=True, max_length=64, padding="max_length")
    assert len(padded["input_ids"][0]) > len(plain["input_ids"][0])
    table = Dataset.from_dict({"text": texts, **plain})
    dicts = [{"input_ids": ids} for ids in plain["input_ids"]]
    order = list(range(len(texts)))[::-1]
    found = {
        "dataset": keys_of(table),
        "torch dataset": keys_of(table.with_format("torch")),
        "padded": keys_of(Dataset.from_dict(dict(padded))),
        "selected": keys_of(table.select(order))[order],
        "dicts": keys_of(dicts),
    }
    for name, keys in found.items():
        assert keys.tolist() == split.keys.tolist(), name
    assert len(store.find(found["dataset"])) == len(texts) == 30
    with pytest.raises(StoreIncompleteError, match="lacks 30 of 30 rows"):
        store.find(keys_of([{"input_ids": ids[:-1]} for ids in plain["input_ids"]]))


def test_the_second_segment_of_a_pair_counts() -> None:
    """Catches keys under which a pair and the same tokens as one text are one row."""
    ids = {"input_ids": [2, 5, 3, 6, 3]}
    one, two, zeros = keys_of(
        [ids, {**ids, "token_type_ids": [0, 0, 0, 1, 1]}, {**ids, "token_type_ids": [0] * 5}]
    ).tolist()
    assert one == zeros
    assert one != two
