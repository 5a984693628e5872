"""`decant plan`, `inspect` and `show` as a user runs them."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result

from pipeline.core.fingerprint import digest_folder
from tests.small_project import PARAMS, change, make_project, write_params
from tests.stages.conftest import invoke

STORE = Path("artifacts/teacher_store")


@pytest.fixture(scope="module")
def captured_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with tokens, a teacher and its store; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("captured") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("prepare", "augment"):
            assert invoke(name).exit_code == 0
        shutil.copytree("base", "artifacts/teacher")
        assert invoke("capture").exit_code == 0
    return folder


@pytest.fixture
def project(captured_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the captured project, which is the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(captured_project, folder)
    monkeypatch.chdir(folder)
    return folder


def fault(result: Result) -> str:
    """Return the last line on stderr of a command that failed as it should."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


def first_text() -> str:
    """Return the first text of the training data."""
    return Path("data/train.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[0]


def total_bytes(result: Result) -> int:
    """Return the planned size of the whole store."""
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("total ")]
    return int(line.split()[-1].replace(",", ""))


def test_plan_before_and_after_the_teacher_is_there(project: Path) -> None:
    """Planned from the base checkpoint or from the teacher, the store is of one size."""
    found = sum(path.stat().st_size for path in STORE.rglob("*") if path.is_file())
    shutil.rmtree(STORE)
    with_teacher = invoke("plan", "--no-time")
    assert total_bytes(with_teacher) == found
    assert "time " not in with_teacher.stdout
    shutil.rmtree("artifacts/teacher")
    without = invoke("plan", "--no-time")
    assert total_bytes(without) == pytest.approx(found, rel=0.01)
    assert without.stdout.startswith("teacher   base, to be fine-tuned (bert, 4 layers, ")
    assert not STORE.exists()


def test_plan_measures_the_time_of_what_is_missing(project: Path) -> None:
    """The measurement must run on the missing arrays, and leave the store as it is."""
    before = digest_folder(STORE)
    assert "time " not in invoke("plan").stdout  # there is nothing to compute
    write_params(project, change(PARAMS, "capture.signals.attentions.layers", [2, 3]))
    lines = invoke("plan").stdout.splitlines()
    assert any(line.startswith("attentions/03") for line in lines)
    assert lines[-1].startswith("time      about ") and "batches measured)" in lines[-1]
    assert digest_folder(STORE) == before


def test_plan_without_tokens(project: Path) -> None:
    """A user who plans first must be told what comes before."""
    shutil.rmtree("artifacts/tokens")
    assert fault(invoke("plan")) == (
        "plan: artifacts/tokens is not a token table (no readable tokens.json). Run 'dvc repro "
        "prepare', or 'dvc pull' where another team made it."
    )


def test_inspect_needs_no_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever pulled a store alone, without params.yaml, must be able to look into it."""
    monkeypatch.chdir(project.parent)
    store = str(Path("project") / STORE)
    text = invoke("inspect", store)
    assert text.exit_code == 0, text.output
    assert text.stdout.startswith(f"store      {store} (format version 1)\n")
    assert text.stdout.endswith("complete: every segment has every array\n")
    document = json.loads(invoke("inspect", store, "--json").stdout)
    assert document["store"] == store and document["n_segments"] == 4
    assert f"rows       {document['n_rows']:,} of {document['n_tokens']:,} tokens" in text.stdout


def test_inspect_of_no_store(project: Path) -> None:
    """An empty folder must not be described as an empty store."""
    shutil.rmtree(STORE)
    assert fault(invoke("inspect")).startswith(
        "inspect: artifacts/teacher_store holds no teacher store (no manifest.json)."
    )


def test_show_writes_a_picture(project: Path) -> None:
    """The picture must be there, with a map of each layer, and be that of the head."""
    result = invoke("show", "--row", first_text(), "--output", "out/map.svg")
    assert result.exit_code == 0, result.output
    assert f"tokens      [CLS] {first_text()} [SEP]" in result.stdout
    assert result.stdout.endswith("attention of layers 2, mean of all heads: out/map.svg\n")
    svg = Path("out/map.svg").read_text(encoding="utf-8")
    assert ">layer 2<" in svg and svg.count("<image ") == 1
    key = result.stdout.split()[1]
    by_key = invoke("show", "--row", key, "--layer", "2", "--head", "3")
    assert f"attention of layers 2, head 3: attentions-{key[:12]}.svg" in by_key.stdout
    assert "row 1 of train)" in by_key.stdout
    assert Path(f"attentions-{key[:12]}.svg").read_bytes() != Path("out/map.svg").read_bytes()


def test_show_without_attentions(project: Path) -> None:
    """An empty picture would look like a teacher that attends to nothing."""
    params = change(PARAMS, "capture.signals", {})
    params["students"] = {"hard-2": PARAMS["students"]["hard-2"]}
    write_params(project, params)
    shutil.rmtree(STORE)
    assert invoke("capture").exit_code == 0
    result = invoke("show", "--row", first_text())
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == (
        "no attention maps were captured for this row; no picture is written"
    )
    assert not list(project.glob("*.svg"))


def test_show_of_what_is_not_there(project: Path) -> None:
    """A misspelt text must not end in a traceback or in a picture of another row."""
    assert "show: artifacts/teacher_store has no row of this text, cut at 64 tokens" in fault(
        invoke("show", "--row", "the film film film")
    )
    assert fault(invoke("show", "--row", first_text(), "--layer", "3")).startswith(
        "show: artifacts/teacher_store has no attention maps of layer 3 for this row; it has "
        "layers 2."
    )
    assert not list(project.glob("*.svg"))


def test_show_refuses_options_that_make_no_sense(project: Path) -> None:
    """A pair of a key would be dropped silently; a JPEG would hold an SVG."""
    pair = invoke("show", "--row", "0" * 32, "--pair", "b")
    assert pair.exit_code == 2 and "--pair goes with a text, --row is a key" in pair.stderr
    jpeg = invoke("show", "--row", "a", "--output", "map.jpg")
    assert jpeg.exit_code == 2 and "--output map.jpg: the picture is an SVG" in jpeg.stderr
