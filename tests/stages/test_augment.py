"""`decant augment` and what comes after it, as a user runs them."""

import re
from pathlib import Path

from tests.conftest import make_sentences, write_csv
from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke

VIEW = Path("artifacts/views/kd-2.json")


def test_only_variants_are_captured(project: Path) -> None:
    """Catches a teacher that runs again over old rows, and students retrained for nothing."""
    before = VIEW.read_bytes()
    off = invoke("augment")
    assert off.stdout.splitlines()[-1] == "augment: off (augmentation.n_copies is 0)"
    write_params(project, change(PARAMS, "augmentation.n_copies", 2))
    on = re.fullmatch(
        r"augment: (\d+) variants of 90 training rows", invoke("augment").stdout.splitlines()[-1]
    )
    assert on is not None and 90 < int(on[1]) <= 180
    plan = invoke("plan", "--no-time")
    assert plan.exit_code == 0 and re.search(rf"\b{on[1]}\b", plan.stdout)
    captured = invoke("capture")
    assert f"{on[1]} rows computed, 140 already present" in captured.stdout
    assert invoke("select", "kd-2").exit_code == 0
    assert VIEW.read_bytes() == before


def test_variants_of_older_data_are_refused(project: Path) -> None:
    """Catches variants of texts that have since moved to the test split."""
    write_csv(project / "data" / "train.csv", make_sentences(80, seed=9))
    assert invoke("prepare").exit_code == 0
    refused = invoke("capture")
    assert refused.exit_code == 1
    assert "the augmented rows are not of this token table" in refused.stderr
    assert "Run 'dvc repro augment'." in refused.stderr
    assert invoke("augment").exit_code == 0
    assert invoke("generate").exit_code == 0
    assert invoke("capture").exit_code == 0
