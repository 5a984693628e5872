"""A row of a store, found by key and by text, against the teacher's own outputs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from pipeline.core.errors import StoreIncompleteError, StoreMismatchError
from pipeline.evaluate.stored_row import attention_maps, describe_row, find_row
from pipeline.store.reader import open_store
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Tokenising
from pipeline.text.tokens import Tokens
from tests.conftest import OwnOutputs, capture_store, make_tokenizer, make_tokens, own_outputs

MakeStore = Callable[..., Path]


@pytest.fixture
def tokens_dir(tmp_path: Path, checkpoint: Path, data_dir: Path) -> Path:
    """The token table of `data_dir`, where it is known."""
    make_tokens(tmp_path / "tokens", checkpoint, data_dir)
    return tmp_path / "tokens"


def text_of(tokens: Tokens, split: str, position: int) -> str:
    """Return a row's text."""
    text = tokens.splits[split].table["text"][position].as_py()
    assert isinstance(text, str)
    return text


def teacher_outputs(checkpoint: Path, tokens: Tokens, split: str, position: int) -> OwnOutputs:
    """Return what the teacher itself says of a row."""
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, attn_implementation="eager"
    ).eval()
    return own_outputs(model, tokens.splits[split].row(position), has_token_types=True)


def test_text_and_key_find_the_same_row(
    make_store: MakeStore, checkpoint: Path, tokens: Tokens, tokens_dir: Path
) -> None:
    """Tokenised otherwise than the data was, a text of the data would not be found."""
    store = open_store(make_store())
    text = text_of(tokens, "validation", 11)
    row = find_row(store, text)
    assert row.key == tokens.splits["validation"].keys[11].tobytes()
    assert row.tokens == ("[CLS]", *text.split(), "[SEP]")
    assert row.source is None and row.n_tokens == len(row.tokens)
    assert find_row(store, row.key.hex().upper()).tokens is None
    by_key = find_row(store, row.key.hex(), tokens_dir=tokens_dir)
    assert by_key.tokens == row.tokens and by_key.source == "row 12 of validation"
    own = teacher_outputs(checkpoint, tokens, "validation", 11)
    expected = own.logits.softmax(-1).tolist()
    assert row.scores == pytest.approx(dict(zip(tokens.labels, expected, strict=True)))
    assert row.prediction.split()[0] == tokens.labels[int(own.logits.argmax())]


@pytest.mark.parametrize("encoding", ["float32", "float16", "uint8_cbrt"])
def test_maps_are_the_rows_own(
    make_store: MakeStore, checkpoint: Path, tokens: Tokens, encoding: str
) -> None:
    """A neighbour's map, a transposed one or another head looks just as plausible."""
    signals = {"attentions": {"layers": (1, 4), "encoding": encoding}}
    store = open_store(make_store(signals=signals))
    row = find_row(store, text_of(tokens, "test", 3))
    own = teacher_outputs(checkpoint, tokens, "test", 3).attentions
    tolerance = 0.006 if encoding == "uint8_cbrt" else 1e-3  # see encoding.py
    means = attention_maps(store, row)
    assert [*means] == [1, 4]
    for layer, values in means.items():
        assert torch.allclose(values, own[layer - 1].mean(0), atol=tolerance)
        assert not torch.allclose(values, own[layer - 1].mean(0).T, atol=3 * tolerance)
    heads = [attention_maps(store, row, layer=4, head=head)[4] for head in range(4)]
    assert torch.allclose(torch.stack(heads), own[3], atol=tolerance)
    assert not torch.allclose(heads[0], heads[1], atol=3 * tolerance)


def test_mean_maps(make_store: MakeStore, checkpoint: Path, tokens: Tokens) -> None:
    """One stored map of four heads would be cut into quarters; a head of it does not exist."""
    store_dir = make_store(signals={"attentions": {"layers": (2,), "heads": "mean"}})
    store = open_store(store_dir)
    row = find_row(store, text_of(tokens, "train", 0))
    own = teacher_outputs(checkpoint, tokens, "train", 0).attentions
    assert torch.allclose(attention_maps(store, row)[2], own[1].mean(0), atol=1e-3)
    with pytest.raises(StoreIncompleteError, match="no head 0 of layer 2; it has only the mean"):
        attention_maps(store, row, head=0)


def test_long_text_is_cut_and_pairs_have_their_own_key(tmp_path: Path, checkpoint: Path) -> None:
    """Uncut, a long text is another row; joined, a pair is one too, and its first text is none:
    the message must say that the second one is missing, and only then."""
    long = " ".join(["film", "story"] * 50)
    data = tmp_path / "data"
    data.mkdir()
    lines = [f"{long},film,negative", "the film,was dull,negative", "the story,was warm,positive"]
    for split in ("train", "validation"):
        (data / f"{split}.csv").write_text("\n".join(["text,text_pair,label", *lines]) + "\n")
    tokens = pair_tokens(tmp_path / "tokens", checkpoint, data)
    store = open_store(capture_store(tmp_path / "store", checkpoint, tokens))
    row = find_row(store, "the film", "was dull")
    assert row.tokens == ("[CLS]", "the", "film", "[SEP]", "was", "dull", "[SEP]")
    with pytest.raises(StoreIncompleteError, match=r"cut at 64 tokens.* or add it to the data"):
        find_row(store, "the film was dull", tokens_dir=tmp_path / "tokens")
    with pytest.raises(StoreIncompleteError, match="with a second one: give that with --pair"):
        find_row(store, "the film", tokens_dir=tmp_path / "tokens")
    assert find_row(store, long, "film").n_tokens == 64


def pair_tokens(folder: Path, checkpoint: Path, data: Path) -> Tokens:
    """Tokenise a folder with pairs of texts."""
    from pipeline.core.checkpoint import load_tokenizer
    from pipeline.tasks.token_table import write_tokens
    from pipeline.text.corpus import DataSettings, read_corpus
    from pipeline.text.tokens import open_tokens

    columns = {"text": "text", "text_pair": "text_pair", "label": "label"}
    settings = DataSettings.model_validate(
        {"source": "files", "path": str(data), "columns": columns}
    )
    corpus = read_corpus(settings, CLASSIFICATION.read)
    folder.mkdir()
    names = CLASSIFICATION.label_names(corpus, None)
    write_tokens(
        corpus, CLASSIFICATION, names, None, Tokenising(load_tokenizer(checkpoint), 64), folder
    )
    return open_tokens(folder)


def test_absent_row_layer_and_head(make_store: MakeStore, tokens: Tokens) -> None:
    """The first row, or the first layer, must not stand in for what is not there."""
    store = open_store(make_store())
    n_rows = len(store)
    with pytest.raises(StoreIncompleteError, match=f"has no row {'ab' * 16}; it holds {n_rows} "):
        find_row(store, "ab" * 16)
    with pytest.raises(StoreIncompleteError, match=r"no row of this text.*\(key [0-9a-f]{32}\)"):
        find_row(store, "the film was never in the data")
    row = find_row(store, text_of(tokens, "train", 5))
    with pytest.raises(StoreIncompleteError, match="layer 3 for this row; it has layers 2, 4"):
        attention_maps(store, row, layer=3)
    with pytest.raises(StoreIncompleteError, match="no head 4 of layer 2; it has 0 to 3"):
        attention_maps(store, row, head=4)


def test_exchanged_tokenizer(make_store: MakeStore, tokens: Tokens) -> None:
    """With another tokenizer a text gets a key that names another row, or none."""
    store_dir = make_store()
    sizes = {path.name: path.stat().st_size for path in (store_dir / "teacher").iterdir()}
    path = store_dir / "teacher/tokenizer.json"
    swapped = path.read_text().replace('"film"', '"tmp"').replace('"the"', '"film"')
    path.write_text(swapped.replace('"tmp"', '"the"'))
    assert {path.name: path.stat().st_size for path in (store_dir / "teacher").iterdir()} == sizes
    store = open_store(store_dir)
    with pytest.raises(StoreMismatchError, match=r"was captured with tokenizer=\w{12}, now \w{12}"):
        find_row(store, text_of(tokens, "train", 5))


def test_tokens_of_another_tokenizer_are_not_shown(
    make_store: MakeStore, tmp_path: Path, tokens: Tokens, data_dir: Path
) -> None:
    """A token table made later with other word pieces would name other tokens."""
    make_tokenizer(tmp_path / "other", ("film", "the", "story"))
    make_tokens(tmp_path / "tokens", tmp_path / "other", data_dir)
    key = tokens.splits["train"].keys[5].tobytes().hex()
    assert find_row(open_store(make_store()), key, tokens_dir=tmp_path / "tokens").tokens is None


def test_text_of_a_row(make_store: MakeStore, tokens: Tokens, tokens_dir: Path) -> None:
    """Probabilities beside the wrong labels are worse than none."""
    store = open_store(make_store())
    key = tokens.splits["test"].keys[7].tobytes().hex()
    row = find_row(store, key, tokens_dir=tokens_dir)
    likeliest, other = sorted(row.scores, key=lambda label: -row.scores[label])
    number = int(np.flatnonzero(store.keys == np.void(row.key))[0])
    assert describe_row(row).splitlines() == [
        f"key         {key} (segment {number // 40:05d}, row 8 of test)",
        f"length      {row.n_tokens} tokens",
        f"tokens      [CLS] {text_of(tokens, 'test', 7)} [SEP]",
        f"teacher     {likeliest}  {row.scores[likeliest]:.4f}",
        f"            {other}  {1 - row.scores[likeliest]:.4f}",
    ]
