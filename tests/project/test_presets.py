"""Presets: each is read as it is written, and leaves the rest of params.yaml alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params, parse_section
from pipeline.project.check import check_params
from pipeline.project.presets import Preset, apply_preset, find_preset, list_presets
from pipeline.tasks import TASKS
from pipeline.tasks.data_faults import data_faults
from pipeline.tasks.task import TaskSettings
from pipeline.text.corpus import DataSettings
from tests.imports import ROOT
from tests.stages.conftest import invoke

SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
PRESETS = list_presets()
GLUE = ("cola", "mnli", "mnli-mismatched", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
NAMES = {
    *(f"glue/{name}" for name in GLUE),
    "race/middle",
    "race/high",
    "conll2003",
    "squad",
    "squad-v2",
    "wikitext-2",
    "wikitext-103",
    "opus-books",
}
_NO_HEAD = ".model.architecture: a text_cnn student has no head for "
UNFIT = {
    "regression": ".objectives.soft_target: ",
    "multiple_choice": _NO_HEAD,
    "question_answering": _NO_HEAD,
    "token_classification": _NO_HEAD,
}
"""What the faults of shipped students say that do not go with another kind of task."""


def test_every_data_set_has_its_preset() -> None:
    """Catches a preset that is lost."""
    assert {preset.name for preset in PRESETS} == NAMES


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
@pytest.mark.parametrize("path", [None, "../rows"])
def test_it_fits_the_shipped_params(preset: Preset, path: str | None) -> None:
    """Catches a misspelt setting, another section that changes, and a comment that is lost."""
    assert 20 < len(preset.description) < 100
    changed, said = apply_preset(SHIPPED, preset, path)
    params, before = parse_params(changed), parse_params(SHIPPED)
    assert list(params) == list(before) and said
    assert {name for name in before if params[name] != before[name]} <= {"data", "task"}
    data = parse_section(DataSettings, params["data"], "data")
    if path is None:
        assert (data.source, data.path) == ("hub", "data")
        assert data.hub_id == preset.settings["data"]["hub_id"]
    else:
        assert (data.source, data.path, data.hub_id) == ("files", path, None)
        assert data.splits.given() == {}
    kind = params["task"]["kind"]
    if kind in UNFIT:
        with pytest.raises(SettingsError) as refused:
            check_params(params)
        assert all(UNFIT[kind] in fault for fault in refused.value.faults)
    elif TASKS[kind].predicts == "piece":  # the shipped students and teacher predict labels
        assert data_faults(data, kind) == []
        assert parse_section(TaskSettings, params["task"], "task").kind == kind
    else:
        check_params(params)
    after = changed.splitlines()
    comments = [line for line in SHIPPED.splitlines() if "#" in line]
    lost = [line for line in comments if line not in after]
    # What is said behind a value goes with it.
    assert [line.split()[0] for line in lost] == ["source:", *(["path:"] if path else [])]
    assert sum("#" in line for line in after) == len(comments) - len(lost)
    assert changed.count("\n\n") == SHIPPED.count("\n\n")


def test_what_reads_other_data_goes() -> None:
    """Catches label names, splits and metrics of one data set that stay for the next."""
    text = SHIPPED.replace("  columns:", "  max_rows: {train: 9}\n  columns:")
    text = text.replace("kind: classification", "kind: masked_lm\n  masking: {seed: 1}")
    for name in ("glue/cola", "glue/mnli", "race/high"):
        text, _ = apply_preset(text, find_preset(name), None)
    params = parse_params(text)
    assert "labels" not in params["data"] and "splits" not in params["data"]
    assert params["data"]["max_rows"] == {"train": 9}
    assert params["task"] == {"kind": "multiple_choice"}
    again, said = apply_preset(text, find_preset("race/high"), None)
    assert (again, said) == (text, [])


@pytest.mark.parametrize("before", ["", "data:\n\n", "task: {kind: regression}\ndata: {path: x}\n"])
def test_sections_are_made_where_there_are_none(before: str) -> None:
    """Catches a traceback for a short params.yaml, and lines put into another section."""
    text = f"{before}# Who learns.\nstudents:\n  a: {{objectives: {{hard_label: {{}}}}}}\n"
    changed, _ = apply_preset(text, find_preset("glue/stsb"), None)
    params = parse_params(changed)
    assert params["data"]["hub_id"] == "nyu-mll/glue:stsb"
    assert params["task"] == {"kind": "regression"}
    assert params["students"] == {"a": {"objectives": {"hard_label": {}}}}
    assert "# Who learns.\nstudents:\n" in changed


def test_a_file_in_one_line_is_left_alone() -> None:
    """Catches a file that is no YAML any more."""
    with pytest.raises(SettingsError, match="the lines of 'decant preset glue/stsb' by hand"):
        apply_preset(
            "{data: {path: x}, task: {kind: regression}}\n", find_preset("glue/stsb"), None
        )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a list that needs an option, a file that is written with faults, or not at all."""
    path = tmp_path / "project" / "params.yaml"
    path.parent.mkdir()
    path.write_text(SHIPPED, encoding="utf-8")
    monkeypatch.chdir(path.parent)
    pairs = [("a dog", "an animal", n % 2) for n in range(40)]
    write_pairs(tmp_path / "rte", [*pairs, ("a dog", "a cat", -1)])
    assert {line.split()[0] for line in invoke("preset").stdout.splitlines()} == NAMES
    assert invoke("preset", "glue/rte").stdout == find_preset("glue/rte").text
    assert invoke("preset", "glue/rte", "--path", "x").exit_code == 2
    assert invoke("preset", "--apply").exit_code == 2
    result = invoke("preset", "glue/rte", "--apply", "--path", "../absent")
    assert result.exit_code == 1 and "../absent: no such file or folder" in result.stderr
    assert path.read_text(encoding="utf-8") == SHIPPED
    result = invoke("preset", "glue/rte", "--apply", "--path", "../rte")
    assert result.exit_code == 0, result.output
    assert "params.yaml: data.path: ../rte" in result.stdout.splitlines()
    assert "params.yaml: data.columns: {text: sentence1, text_pair: " in result.stdout
    written = path.read_text(encoding="utf-8")
    assert written == apply_preset(SHIPPED, find_preset("glue/rte"), "../rte")[0]
    path.write_text(written.replace("n_copies: 0", "n_copies: 2"), encoding="utf-8")
    result = invoke("preset", "conll2003", "--apply")
    assert result.exit_code == 1
    assert "augmentation.n_copies: the labels of a token classification" in result.stderr
    assert "hub" not in parse_params(path.read_text(encoding="utf-8"))["data"]["source"]
    result = invoke("preset", "glue/stsb", "--apply")
    assert result.exit_code == 0
    assert "\nnow change params.yaml: students.kd-3.objectives.soft_target: " in result.output


def write_pairs(folder: Path, pairs: Sequence[tuple[str, str, object]]) -> None:
    """Write pairs as the files of a data set of GLUE are."""
    folder.mkdir()
    lines = ["sentence1,sentence2,label", *(",".join(map(str, pair)) for pair in pairs)]
    for split in ("train", "validation"):
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [{"tokens": ["the", "film"], "ner_tags": ["O", "B-corporation"]}],
            "preset: ../rows has 1 labels that preset 'conll2003' does not name: 'B-corporation'; "
            "it names O, B-PER, I-PER, B-ORG, I-ORG, B-LOC, I-LOC, B-MISC, I-MISC. This is another "
            "data set: make a project for it with 'decant new DIR --task token_classification "
            "--data ../rows' and its columns.",
        ),
        ([{"words": ["the", "film"], "ner_tags": ["O", "O"]}], "has no column 'tokens'; it has "),
    ],
)
def test_files_of_another_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], expected: str
) -> None:
    """Catches other tags under a preset's name, found only by `prepare` after `check` had none."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "project").mkdir()
    for split in ("train", "validation"):
        lines = [json.dumps(row) + "\n" for row in rows * 20]
        (tmp_path / f"rows/{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    path = tmp_path / "project" / "params.yaml"
    path.write_text(SHIPPED, encoding="utf-8")
    monkeypatch.chdir(path.parent)
    result = invoke("preset", "conll2003", "--apply", "--path", "../rows")
    assert result.exit_code == 1 and expected in result.stderr
    assert path.read_text(encoding="utf-8") == SHIPPED
