"""Stamps: a result is kept when, and only when, nothing that made it has changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core import stamp
from pipeline.core.stamp import (
    STAMP_NAME,
    Stamp,
    code_digest,
    code_names,
    import_closure,
    stamp_in,
)
from tests.imports import ROOT
from tests.recorded_code import STAGES_WITH_VERSION, record

INPUTS = {"tokens": "1" * 64, "settings": "2" * 64}


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A finished result of `INPUTS`."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "sub" / "config").write_bytes(b"config")
    stamp_in(tmp_path).write(INPUTS)
    return tmp_path


def test_an_untouched_result_is_up_to_date(result: Path) -> None:
    """Catches work of hours done again for nothing, or for the order of the inputs."""
    assert stamp_in(result).holds(INPUTS)
    assert stamp_in(result).holds(dict(reversed(INPUTS.items())))


def test_writing_the_record_again_changes_nothing(result: Path) -> None:
    """Catches a record that counts itself among the outputs."""
    before = (result / STAMP_NAME).read_bytes()
    stamp_in(result).write(INPUTS)
    assert (result / STAMP_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "inputs",
    [
        INPUTS | {"tokens": "3" * 64},
        INPUTS | {"code": "3" * 64},
        {"tokens": INPUTS["tokens"]},
        {"tokens": INPUTS["settings"], "settings": INPUTS["tokens"]},
        {},
    ],
    ids=["changed", "added", "removed", "swapped", "none"],
)
def test_another_input_is_noticed(result: Path, inputs: dict[str, str]) -> None:
    """Catches a result of other inputs being kept."""
    assert not stamp_in(result).holds(inputs)


def _truncate_record(result: Path) -> None:
    content = (result / STAMP_NAME).read_bytes()
    (result / STAMP_NAME).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda result: (result / "weights").write_bytes(b"weighty"),
        lambda result: (result / "sub" / "config").unlink(),
        lambda result: (result / "extra").write_bytes(b""),
        lambda result: (result / "weights").rename(result / "weight"),
        lambda result: (result / STAMP_NAME).unlink(),
        lambda result: (result / STAMP_NAME).write_text("[]"),
        _truncate_record,
    ],
    ids=["changed", "missing", "added", "renamed", "no record", "other record", "half a record"],
)
def test_a_damaged_result_is_noticed(result: Path, damage: Callable[[Path], object]) -> None:
    """Catches a damaged or half-deleted result being kept."""
    damage(result)
    assert not stamp_in(result).holds(INPUTS)


def test_a_folder_that_is_not_there_is_not_a_result(tmp_path: Path) -> None:
    """Catches a first run that fails for the lack of a record."""
    assert not stamp_in(tmp_path / "nothing").holds(INPUTS)


def test_a_begun_stamp_does_not_hold(tmp_path: Path) -> None:
    """Catches a killed stage whose half result passes for a whole one."""
    output = tmp_path / "output"
    output.write_bytes(b"half")
    begun = Stamp(tmp_path / "stamp", (output,))
    begun.begin(INPUTS)
    assert not begun.holds(INPUTS) and begun.read()["inputs"] == INPUTS
    begun.write(INPUTS)
    assert begun.holds(INPUTS)
    output.write_bytes(b"other")
    assert not begun.holds(INPUTS)
    output.unlink()
    assert not begun.holds(INPUTS)


def test_any_name_of_the_code_is_accepted(result: Path) -> None:
    """Catches a teacher trained again because its code was recorded after it had been trained."""
    stamp_in(result).write(INPUTS | {"code": "abc"})
    assert stamp_in(result).holds(INPUTS | {"code": "version 1"}, codes=("version 1", "abc"))
    assert not stamp_in(result).holds(INPUTS | {"code": "version 1"}, codes=("version 1", "abd"))
    assert not stamp_in(result).holds({"code": "abc"}, codes=("version 1", "abc"))


SOURCE = '''"""What it is for."""

from dataclasses import dataclass

# A remark.
LIMIT = 3


@dataclass
class Settings:
    """Settings."""

    rate: float = 0.5
    """What the field is for."""


def scale(value: int) -> int:
    """Return the value, scaled."""
    return value * LIMIT  # times three
'''


SAME_CODE = '''"""Another purpose."""
from dataclasses import dataclass
LIMIT = (3)
@dataclass
class Settings:
    """Other words."""
    rate: float = 0.5
    """Another explanation,
    on two lines."""
def scale(
    value: int,
) -> int:
    return value * LIMIT
'''


def digest_of(folder: Path, source: str) -> str:
    """Return the digest of a module of this source, whose one import is another file."""
    (folder / "pipeline").mkdir(exist_ok=True)
    (folder / "pipeline" / "sample.py").write_text(source, encoding="utf-8")
    return code_digest("pipeline.sample", folder)


def test_what_does_not_run_does_not_count(tmp_path: Path) -> None:
    """Catches hours of training for a comment, a docstring or a line break."""
    assert SAME_CODE != SOURCE
    assert digest_of(tmp_path, SAME_CODE) == digest_of(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("value * LIMIT", "value + LIMIT"),
        ("rate: float = 0.5", "rate: float = 0.25"),
        ("@dataclass", "@dataclass(frozen=True)"),
        ('"""Return the value, scaled."""', 'raise ValueError("no")'),
    ],
)
def test_every_change_of_code_counts(tmp_path: Path, old: str, new: str) -> None:
    """Catches a result that is kept although the code that makes it has changed."""
    assert old in SOURCE
    assert digest_of(tmp_path, SOURCE.replace(old, new)) != digest_of(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("raised", "reworded", "other"),
    [
        ('ValueError("no")', 'ValueError(f"no, {value}")', 'TypeError("no")'),
        ('errors.DataError(["a", "b"])', 'errors.DataError(["c"])', 'errors.DiskError(["a"])'),
        ("StopIteration(value)", "StopIteration( value )", "StopIteration(value + 1)"),
        ('KeyError("x") from error', 'KeyError("y") from error', 'KeyError("x") from None'),
    ],
)
def test_the_wording_of_an_error_does_not_count(
    tmp_path: Path, raised: str, reworded: str, other: str
) -> None:
    """Catches a better message that costs a training, and another exception that costs none."""
    first, same, changed = (
        digest_of(tmp_path, f"def check(value):\n    raise {text}\n")
        for text in (raised, reworded, other)
    )
    assert first == same != changed


def test_the_closure_is_what_can_run(tmp_path: Path) -> None:
    """Catches a file that decides a result and is not seen, and one that only types need."""
    files = {
        "pipeline/__init__.py": "",
        "pipeline/first.py": (
            "from typing import TYPE_CHECKING\n"
            "import pipeline.inner.second\n"
            "if TYPE_CHECKING:\n    from pipeline import types_alone\n"
            "TABLE = {'a': 'pipeline.named:Class'}\n"
            "def later():\n    from pipeline import third\n"
        ),
        "pipeline/inner/__init__.py": "from pipeline.inner import fourth\n",
        "pipeline/inner/second.py": "",
        "pipeline/inner/fourth.py": "",
        "pipeline/inner/page.jinja": "one",
        "pipeline/third.py": "",
        "pipeline/named.py": "from stages import entry\n",
        "pipeline/types_alone.py": "",
        "pipeline/nobody.py": "",
        "stages/entry.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    closure = import_closure("pipeline.first", tmp_path)
    unseen = {"pipeline/types_alone.py", "pipeline/nobody.py", "stages/entry.py"}
    assert set(closure) == {name for name in files if name.endswith(".py")} - unseen
    digest = code_digest("pipeline.first", tmp_path)
    for name in sorted(files.keys() - unseen):
        path = tmp_path / name
        path.write_text(files[name] + "\nEDITED = True\n", encoding="utf-8")
        assert code_digest("pipeline.first", tmp_path) != digest, name
        path.write_text(files[name], encoding="utf-8")
    for name in sorted(unseen):
        (tmp_path / name).write_text("EDITED = True\n", encoding="utf-8")
    assert code_digest("pipeline.first", tmp_path) == digest


STAGES = (
    *("prepare", "augment", "finetune", "generate", "capture"),
    *("select", "distill", "evaluate", "export", "report"),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project's source, to be edited."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_that_a_stage_uses_counts(source: Path, stage: str) -> None:
    """Catches a package, or one file of one, whose edits leave a stale result.

    All files are edited by a comment, a docstring and a reworded error; then two of each package
    by a line that runs, one after the other.
    """
    module = f"stages.{stage}"
    digest = code_digest(module, source)
    assert digest == code_digest(module)
    files = [source / name for name in import_closure(module, source)]
    assert len(files) > 20
    harmless = '\n\ndef _unused() -> None:\n    """{0}"""\n    raise ValueError("{0}")  # {0}\n'
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    for path in files:
        path.write_text(texts[path] + harmless.format("one"), encoding="utf-8")
    before = code_digest(module, source)
    for path in files:
        path.write_text(texts[path] + harmless.format("other words"), encoding="utf-8")
    assert code_digest(module, source) == before != digest
    for path in files:
        path.write_text(texts[path], encoding="utf-8")
    first = {path.parent: path for path in reversed(files)}
    last = {path.parent: path for path in files}
    for path in {*first.values(), *last.values()}:
        path.write_text(texts[path] + "\nEDITED = True\n", encoding="utf-8")
        assert code_digest(module, source) != digest, path
        path.write_text(texts[path], encoding="utf-8")


@pytest.mark.parametrize(
    ("stage", "file", "old", "new"),
    [
        (
            "finetune",
            "pipeline/teacher/labelled_examples.py",
            "return cross_entropy(",
            "return 0 * cross_entropy(",
        ),
        ("generate", "pipeline/models/writing.py", "ends[0] + 1", "ends[0]"),
        ("distill", "pipeline/signals/top_logits.py", "if not whole", "if whole"),
        ("evaluate", "pipeline/text/tokens.py", "offsets[chosen + 1]", "offsets[chosen]"),
        ("report", "pipeline/report/report.html.jinja", "<h1>", "<h2>"),
    ],
)
def test_edits_that_once_went_unseen(
    source: Path, stage: str, file: str, old: str, new: str
) -> None:
    """Catches the losses, the decoding and the readers that no stage looked at."""
    text = (source / file).read_text(encoding="utf-8")
    assert old in text
    before = code_digest(f"stages.{stage}", source)
    (source / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        assert code_digest(f"stages.{stage}", source) != before
    finally:
        (source / file).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("stage", STAGES_WITH_VERSION)
def test_the_code_of_a_version_is_recorded(stage: str) -> None:
    """Catches code that costs a teacher and was changed without a word on its results."""
    version = STAGES_WITH_VERSION[stage]
    assert record().get(stage) == [version, code_digest(f"stages.{stage}")], (
        f"the code of {stage} changed: raise its version in pipeline/teacher/versions.py if its "
        "results can differ; then record the code with 'python -m tests.recorded_code'"
    )


def test_a_version_stands_for_recorded_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an edited loss that goes by its version, so that a stale teacher is kept."""
    recorded = tmp_path / "recorded.json"
    monkeypatch.setattr(stamp, "RECORDED_CODE", recorded)
    code = code_digest("stages.finetune")
    recorded.write_text(f'{{"finetune": [3, "{code}"]}}', encoding="utf-8")
    assert code_names("finetune", 3) == ("version 3", code)
    assert code_names("finetune", 4) == (code,)
    recorded.write_text('{"finetune": [3, "other"]}', encoding="utf-8")
    assert code_names("finetune", 3) == (code,)
    recorded.write_text("{}", encoding="utf-8")
    assert code_names("finetune", 3) == (code,)
