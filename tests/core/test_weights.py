"""Names and shapes of a checkpoint's tensors, read from the headers of its files."""

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipeline.core.errors import CheckpointError
from pipeline.core.weights import INDEX_NAME, WEIGHTS_NAME, read_shapes
from tests.conftest import make_model
from tests.old_names import copy_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one file; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    make_model("bert").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in several files; not to be changed."""
    folder = tmp_path_factory.mktemp("sharded")
    make_model("bert").save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_shapes(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shapes_are_those_of_all_tensors(whole: Path, sharded: Path) -> None:
    """Catches a tensor or a file that is left out."""
    expected = {name: tuple(v.shape) for name, v in load_file(whole / WEIGHTS_NAME).items()}
    assert read_shapes(whole) == read_shapes(sharded) == expected
    assert len(expected) > 20


def test_a_missing_shard_is_named(tmp_path: Path, sharded: Path) -> None:
    """Catches half a model that was copied, found when it is loaded hours later."""
    folder = copy_of(sharded, tmp_path / "part")
    lost = sorted(folder.glob("*.safetensors"))[1]
    n_files = len(list(folder.glob("*.safetensors")))
    lost.unlink()
    assert refusal(folder) == (
        f"{folder} lacks {lost.name}, one of {n_files} files that {INDEX_NAME} names. Copy it "
        "there."
    )


def test_a_shard_of_another_checkpoint_is_named(tmp_path: Path, sharded: Path) -> None:
    """Catches a file that is there, but without the tensors that the index promises."""
    folder = copy_of(sharded, tmp_path / "mixed")
    first, second, *_ = sorted(folder.glob("*.safetensors"))
    first.write_bytes(second.read_bytes())
    assert f"{first} lacks " in refusal(folder)


def test_an_index_that_is_none_is_named(tmp_path: Path, sharded: Path) -> None:
    """Catches a traceback for an index without a map."""
    folder = copy_of(sharded, tmp_path / "odd")
    (folder / INDEX_NAME).write_text(json.dumps({"weights": []}), encoding="utf-8")
    assert refusal(folder).startswith(f"{folder / INDEX_NAME} is not an index of weights: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a safetensors file: "),
        (b"\x10" + 20 * b"\x00", "is not a safetensors file: "),
        (b"PK\x03\x04" + 20 * b"\xff", "is not a safetensors file: its header would have "),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "is a pointer of Git LFS, not the weights. Run 'git lfs pull'",
        ),
        (b"\x02" + 7 * b"\x00" + b"{}", "holds no tensor"),
    ],
)
def test_a_file_of_something_else_is_named(
    tmp_path: Path, whole: Path, content: bytes, reason: str
) -> None:
    """Catches a traceback for a download that failed, or a pointer in the place of weights."""
    folder = copy_of(whole, tmp_path / "other")
    (folder / WEIGHTS_NAME).write_bytes(content)
    assert refusal(folder).startswith(f"{folder / WEIGHTS_NAME} {reason}")


def test_half_a_file_is_named(tmp_path: Path, whole: Path) -> None:
    """Catches a copy that was interrupted, whose header is whole."""
    folder = copy_of(whole, tmp_path / "half")
    content = (folder / WEIGHTS_NAME).read_bytes()
    (folder / WEIGHTS_NAME).write_bytes(content[:-4])
    assert refusal(folder) == (
        f"{folder / WEIGHTS_NAME} has {len(content) - 4:,} bytes, and its header says "
        f"{len(content):,}. Copy it again."
    )


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.ckpt", "weights.pt"])
def test_pickled_weights_are_never_read(tmp_path: Path, pickled: str) -> None:
    """Catches a remedy that is missing where the file that everyone sees is not taken."""
    (tmp_path / pickled).write_bytes(b"cos\nsystem\n")
    assert refusal(tmp_path) == (
        f"{tmp_path} holds its weights only pickled ({pickled}), which may run code when they are "
        "read and are never loaded here. Save them once more with save_pretrained, which writes "
        "model.safetensors, where you trust them."
    )


def test_a_pickled_file_beside_the_weights_does_not_matter(tmp_path: Path, whole: Path) -> None:
    """Negative control: most checkpoints of the Hub have both."""
    folder = copy_of(whole, tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    assert read_shapes(folder) == read_shapes(whole)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    """Catches an adapter taken for a model, and an empty folder that ends in a traceback."""
    assert re.fullmatch(r".* holds no model\.safetensors\. Save the model .*", refusal(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert "holds an adapter and not the model" in refusal(tmp_path)
