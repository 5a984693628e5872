"""The README's Python, run as written on a finished project."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertForSequenceClassification

from pipeline.store.reader import open_store
from tests.imports import ROOT

# The tiny project has other names and layers than the default one that the README shows.
IN_THIS_PROJECT = {
    "students/kd-3": "students/kd-2",
    "exports/kd-3": "exports/kd-2",
    "attentions/06": "attentions/02",
}


def run_block(marker: str) -> dict[str, Any]:
    """Run the README's only Python block that contains `marker`; return its variables."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    (block,) = [block for block in blocks if marker in block]
    for shown, here in IN_THIS_PROJECT.items():
        block = block.replace(shown, here)
    assert not re.search(r"\b(pipeline|stages|decant)\b", block)
    variables: dict[str, Any] = {}
    exec(block, variables)
    return variables


def test_store_is_read_without_this_project(project: Path) -> None:
    """A store that only this code can read would lock its users in."""
    found = run_block("zarr.open")
    store = open_store(Path("artifacts/teacher_store"))
    rows = range(len(found["rows"]))
    assert len(rows) == 40
    np.testing.assert_array_equal(found["logits"], store.logits(rows).numpy())
    np.testing.assert_array_equal(found["cls"], store.cls(rows).numpy())
    first = store.attentions([0], 2).numpy()
    np.testing.assert_array_equal(found["attention"].reshape(-1), first)
    sums = found["attention"].astype(np.float64).sum(-1)
    # Each of at most 22 probabilities is rounded to float16, relative error 2^-11.
    np.testing.assert_allclose(sums, 1, atol=2**-11)


def test_student_is_a_transformers_checkpoint(project: Path) -> None:
    """A student that needs this project to be loaded cannot be shipped."""
    found = run_block("students/kd-3")
    assert isinstance(found["model"], BertForSequenceClassification)
    assert found["model"].config.id2label == {0: "negative", 1: "positive"}
    logits = found["model"](**found["tokenizer"]("the film was bright", return_tensors="pt")).logits
    assert logits.shape == (1, 2)
