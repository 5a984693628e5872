"""Digests are equal when, and only when, the things are the same."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError
from pipeline.core.fingerprint import (
    digest_config,
    digest_folder,
    digest_json,
    digest_tokenizer,
    digest_weights,
    row_key,
)
from tests.conftest import make_tokenizer

GOLDEN_KEY = "822f7c7408e07a9a9a51c3d2b7be6a4a"
"""Of the ids 101, 7592, 102 and the types 0, 0, 1; stores on disk hold such keys."""


def key_of(input_ids: list[int], token_type_ids: list[int]) -> bytes:
    """Return the key of a row given as lists."""
    return row_key(np.array(input_ids, np.int32), np.array(token_type_ids, np.int32))


def test_row_key_is_what_the_format_says() -> None:
    """Catches another width, byte order or digest, which would orphan every stored row."""
    content = struct.pack("<i", 3)
    content += b"".join(struct.pack("<i", number) for number in (101, 7592, 102, 0, 0, 1))
    expected = hashlib.blake2b(content, digest_size=16).digest()
    assert key_of([101, 7592, 102], [0, 0, 1]) == expected
    assert expected.hex() == GOLDEN_KEY


def test_row_key_does_not_depend_on_the_arrays_type() -> None:
    """Catches a key that changes with the width of the tokenizer's integers."""
    ids, types = [101, 2**31 - 1], [0, 1]
    wide = row_key(np.array(ids, np.int64), np.array(types, np.int8))
    assert wide == key_of(ids, types)


def test_row_key_sees_type_ids_and_where_they_begin() -> None:
    """Catches a key of the ids alone, or one where ids run into type ids."""
    keys = {
        key_of([5, 6], [0, 0]),
        key_of([5, 6], [0, 1]),
        key_of([5, 6], [1, 0]),
        key_of([6, 5], [0, 0]),
        key_of([5, 6, 0], [0, 0, 0]),
        key_of([5], [6]),
        key_of([], []),
    }
    assert len(keys) == 7
    assert {len(key) for key in keys} == {16}


Leaves = st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e9, 1e9)
Values = Leaves | st.lists(Leaves, max_size=3) | st.dictionaries(st.text(), Leaves, max_size=3)


@settings(max_examples=30, deadline=None)  # only the first example is slow
@given(st.dictionaries(st.text(), Values, min_size=2, max_size=4))
def test_digest_json_ignores_the_order_of_keys(value: dict[str, object]) -> None:
    """Catches a digest that changes when a settings file is sorted."""
    turned = dict(reversed(value.items()))
    assert list(turned) != list(value)
    assert digest_json(turned) == digest_json(value)
    assert digest_json(json.loads(json.dumps(value))) == digest_json(value)


def test_digest_json_sees_values_and_the_order_of_lists() -> None:
    """Catches a digest that takes different settings for the same."""
    values = [[1, 2], [2, 1], ["1", 2], {"1": 2}, [[1, 2]], [1, 2, None], "1,2", True, 1, None]
    assert len({digest_json(value) for value in values}) == len(values)


def save_weights(folder: Path, *files: dict[str, torch.Tensor], note: str = "") -> Path:
    """Save each of `files` as one safetensors file."""
    folder.mkdir()
    for number, tensors in enumerate(files):
        metadata = {"note": note} if note else None
        save_file(tensors, folder / f"model-{number}.safetensors", metadata)
    return folder


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """Three tensors of two types."""
    generator = torch.Generator().manual_seed(0)
    return {
        "b.weight": torch.randn(3, 4, generator=generator),
        "a.weight": torch.randn(2, 2, generator=generator),
        "a.count": torch.arange(5),
    }


def test_digest_weights_ignores_files_order_and_metadata(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Catches a teacher taken for another because it was saved in shards."""
    names = list(tensors)
    shards = [{name: tensors[name]} for name in reversed(names)]
    digests = {
        digest_weights(save_weights(tmp_path / "whole", tensors)),
        digest_weights(save_weights(tmp_path / "noted", tensors, note="made elsewhere")),
        digest_weights(save_weights(tmp_path / "shards", *shards)),
    }
    assert len(digests) == 1


def test_digest_weights_sees_every_value_name_shape_and_type(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Catches another teacher's store being accepted."""
    turned = tensors["b.weight"].clone()
    turned[2, 3] += 2**-20
    variants = {
        "same": tensors,
        "value": tensors | {"b.weight": turned},
        "shape": tensors | {"b.weight": tensors["b.weight"].reshape(4, 3)},
        "type": tensors | {"a.count": tensors["a.count"].view(torch.float64)},
        "name": {f"{name}s": tensor for name, tensor in tensors.items()},
        "fewer": {"b.weight": tensors["b.weight"]},
        "swapped": tensors | {"a.weight": tensors["a.weight"].flip(0)},
    }
    digests = {
        digest_weights(save_weights(tmp_path / name, variant)) for name, variant in variants.items()
    }
    assert len(digests) == len(variants)


def cut(content: bytes) -> bytes:
    """Lose the last value, as an interrupted copy does."""
    return content[:-4]


def with_header(header: object) -> Callable[[bytes], bytes]:
    """Put another header in front."""
    text = json.dumps(header).encode()
    return lambda content: struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:5],
        lambda content: b"garbage " * 8,
        lambda content: struct.pack("<Q", 2**60) + content[8:],
        cut,
        with_header([]),
        with_header({"a": 3}),
        with_header({"a": {"dtype": "F32", "shape": [1]}}),
    ],
    ids=["empty", "short", "garbage", "long header", "cut", "list", "number", "no offsets"],
)
def test_digest_weights_refuses_a_broken_file(
    tmp_path: Path, tensors: dict[str, torch.Tensor], damage: Callable[[bytes], bytes]
) -> None:
    """Catches a digest of half a file, or a traceback, for a copy that was interrupted."""
    path = save_weights(tmp_path / "broken", tensors) / "model-0.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model-0\.safetensors is not a safetensors file"):
        digest_weights(path.parent)


def test_digest_weights_refuses_a_folder_without_safetensors(tmp_path: Path) -> None:
    """Catches a digest of nothing, the same for every checkpoint of pickled weights."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors file\. Save the model"):
        digest_weights(tmp_path)


def test_digest_config_ignores_what_a_library_writes() -> None:
    """Catches a store that a newer Transformers refuses, and a lost layer that it accepts."""
    config = {"num_hidden_layers": 4, "transformers_version": "5.0", "_name_or_path": "here"}
    moved = {"_name_or_path": "there", "transformers_version": "6.0", "num_hidden_layers": 4}
    assert digest_config(config) == digest_config(moved)
    assert digest_config(config) != digest_config(config | {"num_hidden_layers": 3})


def test_digest_tokenizer_ignores_the_last_call(tmp_path: Path) -> None:
    """Catches a digest that depends on how the tokenizer was used before."""
    make_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    fresh = digest_tokenizer(tokenizer)
    tokenizer(["the film", "the"], truncation=True, max_length=3, padding="max_length")
    assert json.loads(tokenizer.backend_tokenizer.to_str())["truncation"] is not None
    assert json.loads(tokenizer.backend_tokenizer.to_str())["padding"] is not None
    assert digest_tokenizer(tokenizer) == fresh


def test_digest_tokenizer_sees_the_vocabulary(tmp_path: Path) -> None:
    """Catches two tokenizers with other ids for the same words being taken for one."""
    make_tokenizer(tmp_path / "one", ("the", "film"))
    make_tokenizer(tmp_path / "other", ("film", "the"))
    one, other = (load_tokenizer(tmp_path / name) for name in ("one", "other"))
    assert digest_tokenizer(one) != digest_tokenizer(other)


def test_digest_folder_names_every_file(tmp_path: Path) -> None:
    """Catches a file in a subfolder that is not covered, or one that should be left out."""
    (tmp_path / "sub").mkdir()
    for name in ("a", "b", "sub/a"):
        (tmp_path / name).write_text(name)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("b", "sub/a")}
    assert digest_folder(tmp_path, without=["a"]) == expected
