"""Every kind of student says in onnxruntime what it says in PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from pipeline.core.errors import ExportError
from pipeline.export import onnx_file
from pipeline.export.onnx_file import OPSET, write_onnx
from pipeline.export.session import MOST
from pipeline.text.token_row import TokenRow
from tests.conftest import make_rows
from tests.export.conftest import INPUTS, METADATA, Export, make_student

KINDS = ("bert", "deberta-v2", "gpt2", "text_cnn", "bilstm")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [(1,), (9,), (3, 17, 30), (7, 7), (2, 5, 4, 6, 3)])
def test_logits_are_pytorchs(exported: Export, kind: str, lengths: tuple[int, ...]) -> None:
    """Catches a size or length of the example that was traced with, baked into the file."""
    one = exported(kind)
    rows = make_rows(lengths, seed=len(lengths))
    expected, found = one.expected(rows), one.found(rows)
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.ptp(expected) > 100 * MOST
    assert np.abs(found - expected).max() <= MOST


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_answer(exported: Export, kind: str) -> None:
    """Catches a mask that is lost on the way, which a batch of one length would not show."""
    one = exported(kind)
    rows = make_rows([4, 11, 29], seed=5)
    together = one.found(rows)
    for row, logits in zip(rows, together, strict=True):
        assert np.abs(one.found([row])[0] - logits).max() <= MOST
    one_cut = [TokenRow(row.ids[:4], row.types[:4]) for row in rows]
    assert np.abs(one.found(one_cut)[1:] - together[1:]).max() > MOST


def test_token_types_are_read(exported: Export) -> None:
    """Catches an input that is taken and not used: pairs of texts would be one."""
    one = exported("bert")
    row = make_rows([12])[0]
    other = TokenRow(row.ids, 0 * row.types)
    assert np.abs(one.found([row]) - one.found([other])).max() > MOST


@pytest.mark.parametrize("kind", ["bert", "bilstm"])
def test_the_file_says_what_goes_in_and_out(exported: Export, kind: str) -> None:
    """Catches inputs that no tokenizer's output fits, and a file without its labels."""
    model = onnx.load(exported(kind).path)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    n_labels = exported(kind).student.config.num_labels
    assert shapes == {name: ["batch", "token"] for name in INPUTS} | {"logits": ["batch", n_labels]}
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET


def test_equal_students_are_equal_bytes_without_paths(exported: Export, tmp_path: Path) -> None:
    """Catches names, times or places of the machine in the file: DVC would see a new one."""
    one = exported("bert")
    write_onnx(make_student("bert"), INPUTS, tmp_path / "again.onnx", METADATA)
    content = one.path.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == content
    for place in (b"site-packages", b".py", str(Path.home()).encode() + b"/"):
        assert place not in content, place


class Undecided(BertForSequenceClassification):
    """A model whose way depends on what it reads."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        if int(input_ids.sum()) > 3:
            return super().forward(input_ids=input_ids, attention_mask=attention_mask)
        return super().forward(input_ids=input_ids)


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path) -> None:
    """Catches a traceback of torch's exporter, which is pages long."""
    student = Undecided(make_student("bert").config)
    with pytest.raises(ExportError, match=r"^torch \S+ cannot export a 'bert' model to ONNX: .+"):
        write_onnx(student, ["input_ids", "attention_mask"], tmp_path / "a.onnx", {})
    assert not list(tmp_path.iterdir())


def test_other_inputs_than_tokens_are_refused(tmp_path: Path) -> None:
    """Catches a file that lacks an input which the student needs."""
    with pytest.raises(ExportError, match="gives bbox; exported are models of input_ids"):
        write_onnx(make_student("bert"), ["input_ids", "bbox"], tmp_path / "a.onnx", {})


def test_weights_that_one_file_cannot_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a file that is written and cannot be read."""
    monkeypatch.setattr(onnx_file, "_LARGEST_FILE_BYTES", 1000)
    with pytest.raises(ExportError, match=r"has 0\.0 GiB of weights, an ONNX file holds less than"):
        write_onnx(make_student("bert"), INPUTS, tmp_path / "a.onnx", {})


def test_the_student_stays_as_it_was(exported: Export) -> None:
    """Catches an export that changes the student it is compared with."""
    student = exported("bilstm").student
    assert sum(isinstance(module, nn.LSTM) for module in student.modules()) == 4
    assert exported("gpt2").student.config._attn_implementation == "sdpa"
    assert exported("gpt2").student.config.use_cache
