"""A student as one ONNX file: token ids in, logits out.

The inputs are those that the student's tokenizer gives, by its names, int64, (batch, token)
with both axes free; the output is `logits` (batch, label), float32, pre-softmax; of a student
that labels words (batch, token, label), of one that predicts masked word pieces (batch, token,
piece), and of one for choices (batch, 1), a row for each choice. Weights are in the file itself.
Label names and the length limit are in its metadata.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.onnx import OnnxExporterError
from transformers import PreTrainedModel

from pipeline.core.errors import ExportError, first_line
from pipeline.export.lstm import with_onnx_lstms

OPSET = 18
"""The operator set that torch's exporter is written in. A newer one would be converted to, for
nothing: no student has an operator that 18 lacks. onnxruntime reads it from version 1.14 on."""

OUTPUT = "logits"

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LARGEST_FILE_BYTES = 2**31 - 1  # of a protobuf message


class _LogitsOnly(nn.Module):
    """A student without the outputs that only training needs."""

    def __init__(self, student: PreTrainedModel) -> None:
        super().__init__()
        self.student = student

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        outputs = self.student(input_ids=input_ids, attention_mask=attention_mask, **types)
        logits: Tensor = outputs.logits
        return logits


def write_onnx(
    student: PreTrainedModel, input_names: Sequence[str], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write a student, which must be on the CPU, in float32; equal students are equal bytes.

    `input_names` are the tokenizer's.

    Raises:
        ExportError: torch has no way to export such a model, its tokenizer gives more than
            token ids, mask and types, or the weights do not fit into one file.
    """
    kind = student.config.model_type
    names = [name for name in _INPUTS if name in input_names]
    others = sorted({*input_names} - {*names})
    if others:
        raise ExportError(
            f"the tokenizer of this '{kind}' student gives {', '.join(others)}; exported are "
            f"models of {', '.join(_INPUTS)} alone"
        )
    size_bytes = sum(weight.nbytes for weight in {*student.parameters(), *student.buffers()})
    if size_bytes > _LARGEST_FILE_BYTES:
        raise ExportError(
            f"the student has {size_bytes / 2**30:.1f} GiB of weights, an ONNX file holds less "
            "than 2. Export a smaller student."
        )
    example = torch.ones(2, 7, dtype=torch.int64)  # a size of 0 or 1 would be taken for fixed
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("token")}
    try:
        with _without_advice():
            program = torch.onnx.export(
                _LogitsOnly(_traceable(student)).eval(),
                tuple(example.clone() for _ in names),
                input_names=names,
                output_names=[OUTPUT],
                dynamic_shapes=tuple(axes for _ in names),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except OnnxExporterError as error:
        reason = first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise ExportError(
            f"torch {torch.__version__} cannot export a '{kind}' model to ONNX: {reason}. "
            "Use another student, or another version of torch."
        ) from error
    assert program is not None
    _forget_source(program)
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep back what torch says on every export and nobody here can follow."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # that torchvision is not installed
    try:
        with warnings.catch_warnings():
            # torch calls what it has deprecated itself, and names of axes are shared on purpose.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: (batch|token) will not be used")
            yield
    finally:
        logger.setLevel(level)


def _traceable(student: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a student that computes the same and can be traced with any length."""
    copy = deepcopy(student)
    copy.eval()
    copy.config.use_cache = False  # of a decoder: keys and values for tokens to come
    if copy._can_set_attn_implementation():
        # The fused one's output has an order in memory that GPT-2's next layer cannot be traced in.
        copy.set_attn_implementation("eager")
    with_onnx_lstms(copy)
    return copy


def _forget_source(program: torch.onnx.ONNXProgram) -> None:
    """Take out what torch notes of each operator: lines of source, with this machine's folders."""
    graph = program.model.graph
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
