"""The same ONNX file with weights of 8 bits, and whether it is worth having.

Dynamic quantisation (onnxruntime): embeddings, and the weights of matrix products and LSTMs, are
stored in 8 bits; what goes into a product is brought to 8 bits while the model runs. Convolutions
stay as they are: an integer convolution is slower than one in float32.

Weights of products are unsigned: without VNNI, an x86 processor adds up products of unsigned and
signed bytes in 16 bits, which overflow.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

_OPERATORS = ["Gather", "LSTM", "MatMul"]

MOST_TIME = 1.05
"""Share of the float32 file's time that an int8 file may take and still be called no slower: an
allowance for what two medians of the same file differ by on a busy machine."""


@dataclass(frozen=True)
class Measured:
    """What a file costs where it was measured."""

    size_bytes: int
    latency_ms: float
    """Of one example in a batch of its own."""
    throughput_per_second: float
    """Examples, in batches of 32."""


def write_int8(source: Path, target: Path) -> None:
    """Write the ONNX file `source` to `target` with weights of 8 bits."""
    model = onnx.load(source)
    # A weight's shape is noted here, too, and goes stale when a weight is transposed.
    del model.graph.value_info[:]
    # It recommends an optimisation of the graph that has been done, on every call.
    logging.getLogger().addFilter(_says_nothing_new)
    try:
        quantize_dynamic(
            model, target, op_types_to_quantize=_OPERATORS, weight_type=QuantType.QUInt8
        )
    finally:
        logging.getLogger().removeFilter(_says_nothing_new)


def why_not(float32: Measured, int8: Measured) -> str | None:
    """Return why an int8 file is not worth having beside the float32 one, or None if it is."""
    if int8.size_bytes >= float32.size_bytes:
        sizes = f"{int8.size_bytes / 2**20:.1f} against {float32.size_bytes / 2**20:.1f} MiB"
        return f"it is not smaller: {sizes}"
    if int8.latency_ms > MOST_TIME * float32.latency_ms:
        times = f"{int8.latency_ms:.2f} against {float32.latency_ms:.2f} ms"
        return f"it is slower: {times} for one example"
    if MOST_TIME * int8.throughput_per_second < float32.throughput_per_second:
        rates = f"{int8.throughput_per_second:.0f} against {float32.throughput_per_second:.0f}"
        return f"it is slower: {rates} examples a second in batches"
    return None


def _says_nothing_new(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
