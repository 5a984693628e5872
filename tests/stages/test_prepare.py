"""What `prepare` says of the table that it has written, and what it does not write."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import make_checkpoint, make_sentences, write_csv
from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke


def write_words(folder: Path, tags: list[str]) -> None:
    """Write a project of words with these tags in the place of the first, the second, ..."""
    rows = [
        {"text": ["the", "film", "was"], "label": tags[number : number + 3]} for number in (0, 3)
    ]
    for split in ("train", "validation"):
        (folder / "data").mkdir(exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    make_checkpoint(folder / "base")
    write_params(folder, change(PARAMS, "task.kind", "token_classification"))


def test_unknown_tokens_are_said(tmp_path: Path, monkeypatch: Any) -> None:
    """Catches a language that the tokenizer does not know, found when a teacher learns nothing."""
    monkeypatch.chdir(tmp_path)
    make_checkpoint(tmp_path / "base")
    write_params(tmp_path, PARAMS)
    rows = make_sentences(20)
    for split in ("train", "validation"):
        write_csv(tmp_path / "data" / f"{split}.csv", rows)
    assert "unknown" not in invoke("prepare").stdout
    write_csv(tmp_path / "data" / "train.csv", [*rows, *[("好 film", "positive")] * 20])
    result = invoke("prepare")
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if "unknown" in line)
    assert line.startswith("prepare: train: ") and "unknown token, such as '好'" in line
    write_csv(tmp_path / "data" / "validation.csv", [("好", "positive"), ("不好", "negative")])
    result = invoke("prepare")
    assert result.exit_code == 1
    assert (
        "validation: 100.0% of the tokens of texts (3 of 3) are the unknown token" in result.stderr
    )


def test_tags_are_checked(tmp_path: Path, monkeypatch: Any) -> None:
    """Catches tags without a scheme that are found by a metric once the teacher is trained, and
    other metrics that need none."""
    monkeypatch.chdir(tmp_path)
    write_words(tmp_path, ["O", "B-A", "I-A", "O", "I-A", "O"])
    result = invoke("prepare")
    assert result.exit_code == 0
    assert (
        "prepare: train: 1 entities begin with I- and 1 with B- (first: row 2, word 2"
        in result.stdout
    )
    write_words(tmp_path, ["O", "B-A", "A", "O", "O", "O"])
    result = invoke("prepare")
    assert result.exit_code == 1
    assert "train: row 1, word 3 'was': 'A' does not say where an entity begins" in result.stderr
    params = change(PARAMS, "task", {"kind": "token_classification", "metrics": ["accuracy"]})
    write_params(tmp_path, params)
    assert invoke("prepare").exit_code == 0
    table = change(PARAMS, "data", {"source": "tokens", "path": "given"})
    (tmp_path / "artifacts" / "tokens").rename(tmp_path / "given")
    write_params(tmp_path, change(table, "task.kind", "token_classification"))
    result = invoke("prepare")
    assert result.exit_code == 1
    assert "given: 'A' does not say where an entity begins" in result.stderr
    assert not (tmp_path / "artifacts" / "tokens").exists()
