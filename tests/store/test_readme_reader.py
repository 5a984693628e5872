"""The README's section for other teams' training code, run as written."""

import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from pipeline.text.tokens import Tokens
from tests.conftest import capture_store
from tests.imports import ROOT

SECTION = "## Use a store in your own training code"

# The tiny store has other layers and limits; the few steps here have to show an effect.
IN_THIS_TEST = {
    "attentions/06": "attentions/02",
    "max_length=128": "max_length=64",
    "1e-4": "1e-2",
    "batch_size=32": "batch_size=8",
    "num_train_epochs=1": "num_train_epochs=2, report_to='none', disable_tqdm=True, use_cpu=True",
}


def mean_loss(found: dict[str, Any]) -> float:
    """Return the soft-target loss of the student over all examples."""
    found["student"].eval()
    batch = found["collator"](found["data"].__getitems__(range(len(found["data"]))))
    with torch.no_grad():
        outputs = found["student"](
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        )
    return float(found["soft_target"](outputs.logits, batch["teacher_logits"]))


def test_the_section_runs_and_the_student_learns(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
    data_dir: Path,
    tokens: Tokens,
) -> None:
    """Catches documentation that does not run, and a Trainer that ignores the teacher."""
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.partition(SECTION)[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(blocks) == 3
    capture_store(tmp_path / "artifacts" / "teacher_store", checkpoint, tokens)
    shutil.copytree(data_dir, tmp_path / "reviews")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    torch.manual_seed(0)
    found: dict[str, Any] = {"__name__": "readme"}
    losses = []
    for block in blocks:
        for shown, here in IN_THIS_TEST.items():
            block = block.replace(shown, here)
        exec(block, found)
        if "student" in found:
            losses.append(mean_loss(found))
    assert found["coverage"].missing.tolist() == []
    assert found["logits"].shape == (8, 2)
    assert found["maps"].shape[:2] == (8, 4)
    assert found["first"].shape == (5, 16)
    fresh = type(found["student"])(found["config"])
    untrained = mean_loss({**found, "student": fresh})
    after_loop, after_trainer = losses
    assert after_loop < 0.9 * untrained
    assert after_trainer < 0.9 * after_loop
    assert found["trainer"].evaluate()["eval_loss"] > 0
