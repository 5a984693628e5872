"""Tiny real components: a word-piece tokenizer, a BERT teacher, labelled sentences."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    PreTrainedModel,
)

from pipeline.core.processes import Processes
from pipeline.signals.cls import MOMENTS
from pipeline.signals.signal import NUMPY_TYPES
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.store.row_table import read_row_table
from pipeline.store.spec import TEACHER_FOLDER, chunk_file, parse_array_name
from pipeline.store.writer import create_store
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens, open_tokens

TAKES_MINUTES = (
    "test_new_end_to_end",
    "test_end_to_end",
    "test_tasks_end_to_end",
    "test_killed_capture",
    "test_growing_store",
    "test_sharing",
    "test_stale_results",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, lest one process be left with it when all others are done."""
    items.sort(key=lambda item: item.path.stem not in TAKES_MINUTES)


@pytest.fixture(scope="session", autouse=True)
def _no_test_waits_for_the_disk() -> Iterator[None]:
    """fsync matters when the power fails, which no test tries; thousands of calls take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which, too, wants an open file
        yield


GOOD = ("bright", "warm", "clever", "lovely", "fresh")
BAD = ("dull", "cold", "stupid", "ugly", "stale")
PLAIN = ("the", "film", "story", "acting", "was", "and", "very", "a", "bit", "though")

LABELS = ("negative", "positive")


def make_sentences(n_rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return (text, label) pairs of 3 to 20 words; a few words give the label away."""
    generator = torch.Generator().manual_seed(seed)

    def draw(words: tuple[str, ...]) -> str:
        return words[int(torch.randint(len(words), (1,), generator=generator))]

    rows = []
    for number in range(n_rows):
        n_words = 3 + int(torch.randint(18, (1,), generator=generator))
        words = [draw(PLAIN) for _ in range(n_words)]
        words[int(torch.randint(n_words, (1,), generator=generator))] = draw(
            GOOD if number % 2 else BAD
        )
        rows.append((" ".join(words), LABELS[number % 2]))
    return rows


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write rows as a CSV file with the columns text and label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tokenizer(folder: Path, words: tuple[str, ...] = (*PLAIN, *GOOD, *BAD)) -> None:
    """Save a word-piece tokenizer of these words."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary = {word: number for number, word in enumerate((*special, *words))}
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)


def make_checkpoint(
    folder: Path, *, seed: int = 0, n_layers: int = 4, labels: tuple[str, ...] = LABELS
) -> Path:
    """Save a random BERT classifier with its tokenizer; dropout is on, as in real ones."""
    make_tokenizer(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
        initializer_range=0.2,  # else attention maps are all but uniform
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def make_tokens(folder: Path, checkpoint: Path, data: Path) -> Tokens:
    """Tokenise the files of a data folder into `folder`, and open them."""
    from pipeline.core.checkpoint import load_tokenizer

    corpus = read_corpus(DataSettings(source="files", path=str(data)), CLASSIFICATION.read)
    folder.mkdir(parents=True)
    names = CLASSIFICATION.label_names(corpus, None)
    write_tokens(
        corpus, CLASSIFICATION, names, None, Tokenising(load_tokenizer(checkpoint), 64), folder
    )
    return open_tokens(folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny teacher with a head for two labels; not to be changed."""
    return make_checkpoint(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with 90 training, 30 validation and 30 test rows; not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    for seed, (split, n_rows) in enumerate({"train": 90, "validation": 30, "test": 30}.items()):
        write_csv(folder / f"{split}.csv", make_sentences(n_rows, seed))
    return folder


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, data_dir: Path) -> Tokens:
    """The token table of `data_dir`."""
    return make_tokens(tmp_path_factory.mktemp("work") / "tokens", checkpoint, data_dir)


def capture_store(
    store_dir: Path,
    checkpoint: Path,
    tokens: Tokens,
    layers: tuple[int, ...] = (2, 4),
    **options: object,
) -> Path:
    """Capture a store of a tiny teacher, of the tokens' task, and return its folder."""
    from pipeline.tasks import task_of
    from pipeline.teacher.capture import capture
    from pipeline.teacher.capture_settings import CaptureSettings

    settings = CaptureSettings.model_validate(
        {"segment_rows": 40, "signals": {"attentions": {"layers": layers}}, **options}
    )
    capture(
        checkpoint,
        tokens,
        task_of(tokens),
        settings,
        store_dir,
        device=torch.device("cpu"),
        batch_tokens=256,
        processes=Processes(),
    )
    return store_dir


@pytest.fixture
def make_store(tmp_path: Path, checkpoint: Path, tokens: Tokens) -> Callable[..., Path]:
    """Return a function that captures a store of the tiny teacher and gives its folder."""

    def make(name: str = "store", layers: tuple[int, ...] = (2, 4), **options: object) -> Path:
        return capture_store(tmp_path / name, checkpoint, tokens, layers, **options)

    return make


@pytest.fixture(scope="session")
def even_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with 60 training and 20 validation rows, all equally long; not to be changed."""
    folder = tmp_path_factory.mktemp("even")
    for seed, (split, n_rows) in enumerate({"train": 60, "validation": 20}.items()):
        rows = [(text.split(), label) for text, label in make_sentences(4 * n_rows, seed)]
        long = [(" ".join(words[-8:]), label) for words, label in rows if len(words) >= 8]
        write_csv(folder / f"{split}.csv", long[:n_rows])
    return folder


@pytest.fixture(scope="session")
def even_tokens_dir(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, even_data_dir: Path
) -> Path:
    """The folder of the token table of `even_data_dir`; not to be changed."""
    folder = tmp_path_factory.mktemp("even_work") / "tokens"
    make_tokens(folder, checkpoint, even_data_dir)
    return folder


@pytest.fixture(scope="session")
def even_tokens(even_tokens_dir: Path) -> Tokens:
    """The token table of `even_data_dir`."""
    return open_tokens(even_tokens_dir)


@pytest.fixture(scope="session")
def even_store(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, even_tokens: Tokens
) -> Path:
    """A store of `even_tokens` with everything in float32; not to be changed."""
    signals = {
        "logits": {"encoding": "float32"},
        "cls": {"encoding": "float32"},
        "attentions": {"layers": (2, 4), "encoding": "float32"},
    }
    folder = tmp_path_factory.mktemp("even_store") / "store"
    return capture_store(folder, checkpoint, even_tokens, signals=signals)


def shift_store(source: Path, target: Path) -> Path:
    """Write a store again with every array one row late; its rows must be equally long."""
    manifest = read_manifest(source)
    assert len(set(open_store(source).lengths.tolist())) == 1
    files = {name: source / TEACHER_FOLDER / name for name in manifest.teacher_files}
    writer = create_store(target, manifest.identity, manifest.teacher, manifest.segment_rows, files)
    for segment in manifest.segments:
        draft = writer.add_segment(segment.name, read_row_table(source, segment))
        for name, record in segment.arrays.items():
            array = parse_array_name(name)
            shape = draft.shape(array)
            path = source / chunk_file(array, segment.name)
            values = np.fromfile(path, NUMPY_TYPES[record.encoding], count=int(np.prod(shape)))
            if array != MOMENTS:
                values = np.roll(values.reshape(segment.n_rows, -1), 1, axis=0)
            draft.write_array(array, values.reshape(shape), record.encoding)
        draft.commit()
    return target


MODEL_TYPES = {
    "bert": True,
    "roberta": False,
    "xlm-roberta": False,
    "distilbert": False,
    "electra": True,
    "albert": True,
    "deberta-v2": True,  # its tokenizer gives them, the model does not read them
    "mpnet": False,
    "modernbert": False,
    "gpt2": False,
    "llama": False,
    "qwen2": False,
    "qwen3": False,
}
"""Every supported model type, and whether its tokenizer gives token types."""

DECODERS = ("gpt2", "llama", "qwen2", "qwen3")
PAD_ID = 2
"""The padding token of the decoders of `make_model`."""

_SIZES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "hidden_dim": 32},
    "electra": {"embedding_size": 8},  # projected to the hidden size, as in ELECTRA-small
    "albert": {"embedding_size": 8},
    "deberta-v2": {  # as in DeBERTa-v3, with buckets that rows of 9 tokens already share
        "relative_attention": True,
        "position_buckets": 4,
        "max_relative_positions": -1,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    # Windows of 2 tokens to either side, dropout as in the other types.
    "modernbert": {
        "pad_token_id": 0,
        "local_attention": 4,
        "attention_dropout": 0.1,
        "mlp_dropout": 0.1,
    },
    "gpt2": {"n_inner": 32},
    "llama": {"num_key_value_heads": 2},
    "qwen2": {
        "num_key_value_heads": 2,
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 1,
    },
    "qwen3": {"num_key_value_heads": 1, "head_dim": 8},
}


def make_model(
    model_type: str,
    *,
    n_layers: int = 3,
    seed: int = 0,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> PreTrainedModel:
    """Return a random classifier for two labels in evaluation mode; dropout is on in training.

    Biases and norms, which start alike in all layers, are random too.
    """
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32}
    special = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    sizes |= dict.fromkeys(special)  # the defaults are outside of so small a vocabulary
    if model_type in DECODERS:
        sizes |= {"pad_token_id": PAD_ID, "attention_dropout": 0.1}
    config = AutoConfig.for_model(
        model_type,
        vocab_size=32,
        max_position_embeddings=66,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        initializer_range=0.2,  # else attention maps are all but uniform
        **{**sizes, **_SIZES.get(model_type, {}), **changes},
    )
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def make_rows(lengths: Sequence[int], seed: int = 0) -> list[TokenRow]:
    """Return random rows of these lengths; the second half of each is of type 1."""
    generator = np.random.default_rng(seed)
    return [
        TokenRow(
            generator.integers(5, 32, length, dtype=np.int32),
            (np.arange(length) >= length // 2).astype(np.int32),
        )
        for length in lengths
    ]


@dataclass(frozen=True)
class OwnOutputs:
    """What Transformers' own outputs are for one row."""

    logits: Tensor
    """(label,)"""
    cls: Tensor
    """(layer, hidden), from the embedding output on."""
    hidden_states: Tensor
    """(layer, token, hidden), from the embedding output on."""
    attentions: Tensor
    """(layer, head, query, key); the first is layer 1."""


def own_outputs(model: PreTrainedModel, row: TokenRow, *, has_token_types: bool) -> OwnOutputs:
    """Run a model with eager attention on one row alone, without padding."""
    assert model.config._attn_implementation == "eager" and not model.training
    ids, types = (torch.from_numpy(part.astype(np.int64))[None] for part in row[:2])
    inputs = {"input_ids": ids} | ({"token_type_ids": types} if has_token_types else {})
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert len(outputs.attentions) == model.config.num_hidden_layers
    assert len(outputs.hidden_states) == model.config.num_hidden_layers + 1
    states = torch.cat(outputs.hidden_states)
    if getattr(model.config, "classifier_pooling", "cls") == "mean":
        cls = states.mean(1)
    elif model.config.model_type in DECODERS:
        cls = states[:, max(i for i, token in enumerate(row[0]) if token != PAD_ID)]
    else:
        cls = states[:, 0]
    return OwnOutputs(
        logits=outputs.logits[0],
        cls=cls,
        hidden_states=states,
        attentions=torch.cat(outputs.attentions),
    )
