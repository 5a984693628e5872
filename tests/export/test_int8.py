"""When weights of 8 bits are worth having, and what they change."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline.export.int8 import Measured, why_not, write_int8
from pipeline.export.session import OnnxStudent
from tests.conftest import make_rows
from tests.export.conftest import METADATA, Export, Exported

FLOAT32 = Measured(size_bytes=4 * 2**20, latency_ms=2.0, throughput_per_second=300.0)


@pytest.mark.parametrize(
    ("int8", "reason"),
    [
        (Measured(2**20, 1.0, 500.0), None),
        (Measured(2**20, 2.0, 300.0), None),
        (Measured(4 * 2**20, 1.0, 500.0), "it is not smaller: 4.0 against 4.0 MiB"),
        (Measured(2**20, 2.2, 500.0), "it is slower: 2.20 against 2.00 ms for one example"),
        (Measured(2**20, 1.0, 250.0), "it is slower: 250 against 300 examples a second in batches"),
    ],
)
def test_it_is_kept_where_it_is_smaller_and_not_slower(int8: Measured, reason: str | None) -> None:
    """Catches a file that is kept for its size alone, or for one of the two speeds."""
    assert why_not(FLOAT32, int8) == reason


def quantised(one: Exported, path: Path) -> onnx.ModelProto:
    write_int8(one.path, path)
    return onnx.load(path)


def bytes_by_type(model: onnx.ModelProto) -> dict[int, int]:
    """Return how many bytes of weights the file has of each type."""
    sizes: dict[int, int] = {}
    for tensor in model.graph.initializer:
        nbytes = onnx.numpy_helper.to_array(tensor).nbytes
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + nbytes
    return sizes


@pytest.mark.parametrize("kind", ["bert", "text_cnn", "bilstm"])
def test_weights_become_bytes_and_inputs_stay(exported: Export, tmp_path: Path, kind: str) -> None:
    """Catches a file that is called int8 and holds float32, or that takes other inputs."""
    one = exported(kind)
    model = quantised(one, tmp_path / "int8.onnx")
    before, after = bytes_by_type(onnx.load(one.path)), bytes_by_type(model)
    n_in_bytes = sum(after.get(kind, 0) for kind in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8))
    assert n_in_bytes > 32 * 6  # the embeddings, at least
    assert after[onnx.TensorProto.FLOAT] < before[onnx.TensorProto.FLOAT] - 3 * n_in_bytes
    assert METADATA.items() <= {entry.key: entry.value for entry in model.metadata_props}.items()
    rows = make_rows([5, 9, 20])
    found = OnnxStudent(tmp_path / "int8.onnx").logits(one.inputs(rows)).numpy()
    expected = one.expected(rows)
    # Each of some dozen products rounds to 1 of 256 steps; a wrong scale is off by the whole range.
    assert 0 < np.abs(found - expected).max() < 0.25 * np.abs(expected).max()


def test_convolutions_stay_as_they_are(exported: Export, tmp_path: Path) -> None:
    """Catches integer convolutions, which are several times slower."""
    operators = [
        node.op_type for node in quantised(exported("text_cnn"), tmp_path / "a").graph.node
    ]
    assert "Conv" in operators and "ConvInteger" not in operators


def test_the_same_file_gives_the_same_bytes(
    exported: Export, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Catches names drawn at random, and advice that nobody can follow in the log."""
    quantised(exported("bert"), tmp_path / "a")
    quantised(exported("bert"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert capfd.readouterr() == ("", "")
