"""The README of an exported student: what the files are, what they cost, how to run them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.metrics import METRICS
from pipeline.tasks import TASKS
from pipeline.train.card_wording import CARD_WORDING
from pipeline.train.model_card import card_metadata

CARD_NAME = "README.md"
STUDENT_CARD_NAME = "STUDENT.md"

_CARD = """\
---
{metadata}
---

# {name} for onnxruntime

The student `{name}` as ONNX (operator set {opset}), exported with Decant. Its own card, with what
it is for, its limits, its teacher, data and training, is [{student_card}]({student_card}).

{table}

Measured on {n_rows:,} validation rows, and in turn with {n_threads} of a CPU's threads: one example
alone, and batches of 32. {notes}

## How to run it

With onnxruntime and transformers (for the tokenizer; torch is not needed), in this folder:

```python
import json

import numpy as np
from onnxruntime import InferenceSession
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
session = InferenceSession("{file}")
metadata = session.get_modelmeta().custom_metadata_map
labels = json.loads(metadata["labels"])

{example}```

Inputs are int64, (batch, token), both of any size up to {max_length} tokens; `logits` is float32,
{axes}. Padding changes no answer.
"""

_FILES = {"pytorch": "PyTorch (not here)", "float32": "`{}`", "int8": "`{}`"}


def write_export_card(
    folder: Path, metrics: Mapping[str, Any], files: Mapping[str, str], *, licence: str
) -> None:
    """Write `README.md` for the `files` (name by format) in `folder`, from their metrics."""
    scores = metrics["float32"]["validation"]
    task = TASKS[metrics["task"]]
    data = card_metadata(metrics["student"], task, scores, library="onnx", licence=licence)
    wording = CARD_WORDING[task.kind]
    card = _CARD.format(
        metadata=data.to_yaml(),
        name=metrics["student"],
        opset=metrics["opset"],
        student_card=STUDENT_CARD_NAME,
        table=_table(metrics, files),
        n_rows=metrics["n_rows"],
        n_threads=metrics["n_threads"],
        notes=_notes(metrics),
        file=files["float32"],
        max_length=metrics["max_length"],
        example=wording.example,
        axes=wording.axes,
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def _table(metrics: Mapping[str, Any], files: Mapping[str, str]) -> str:
    scores = list(metrics["pytorch"]["validation"])
    lines = [
        f"| | MiB | ms alone | examples/s | {' | '.join(scores)} |",
        "|---|" + "---:|" * (3 + len(scores)),
    ]
    for name in ("pytorch", *files):
        one = metrics[name]
        cells = [
            _FILES[name].format(files.get(name)),
            f"{one['size_bytes'] / 2**20:.1f}",
            f"{one['latency_ms']:.2f}",
            f"{one['throughput_per_second']:.0f}",
            *(f"{one['validation'][score]:.4f}" for score in scores),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_loss(measured: Mapping[str, Any]) -> str:
    """Return how much worse an exported student is than the student itself."""
    first = METRICS[next(iter(measured["validation"]))]
    unit = first.unit_of_differences or f"of {first.heading}"
    return f"{measured['lost_points']:.2f} {unit}"


def _notes(metrics: Mapping[str, Any]) -> str:
    largest = metrics["float32"]["largest_difference"]
    notes = [f"Logits in float32 differ from PyTorch's by up to {largest:.1e}."]
    int8 = metrics.get("int8")
    if int8 is not None and int8["why_not"] is None:
        notes.append(f"The file of 8-bit weights loses {describe_loss(int8)}.")
    elif int8 is not None:
        notes.append(f"There is no file of 8-bit weights: {int8['why_not']}.")
    return " ".join(notes)
