"""`decant new` as a user runs it, under real git and DVC."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from ruamel.yaml import YAML

from pipeline.core.settings import parse_params
from tests.conftest import make_sentences, write_csv
from tests.imports import ROOT
from tests.project_template import STAGE_ONE
from tests.stages.conftest import invoke


def new(folder: str, *options: str) -> Result:
    """Run `decant new` for the data of `place`."""
    return invoke(
        "new", folder, "--data", "reviews.csv", "--text", "text", "--label", "label", *options
    )


def run(folder: Path, *command: str) -> str:
    """Run a command as whoever has this code installed, and return what it printed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made_place(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A folder with data and a project that was made of them; not to be changed."""
    place = tmp_path_factory.mktemp("place")
    write_csv(place / "reviews.csv", make_sentences(200))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # a user whom git does not know
        teacher = os.path.relpath(checkpoint, place)
        result = new("my-task", "--teacher", teacher, "--max-rows", "100")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "labels: negative (90), positive (90)",
        "rows: train 180, validation 20",
        "sample: 100 of the training rows are used, for a first run; take data.max_rows out of "
        "params.yaml for all of them",
        f"teacher: params.yaml names it as ../../{checkpoint.name}, outside of the project; a "
        "clone needs it at the same place beside it",
        "Run 'cd my-task', then 'dvc repro'.",
    ]
    return place


@pytest.fixture
def place(
    made_place: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of that folder, which is the current one, as another machine would have it."""
    shutil.copytree(made_place, tmp_path / "place")
    (tmp_path / checkpoint.name).symlink_to(checkpoint)
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def test_the_project_is_whole(place: Path, checkpoint: Path) -> None:
    """Catches a project in which `dvc repro` or an experiment has something missing."""
    project = place / "my-task"
    assert run(project, "git", "status", "--porcelain") == ""
    kept = set(run(project, "git", "ls-files").split())
    needed = {"params.yaml", "dvc.yaml", "data.dvc", "requirements.txt", ".dvc/config", "README.md"}
    assert needed < kept and not any(name.startswith("data/") for name in kept)
    assert (project / "data/train.csv").read_bytes() == (place / "reviews.csv").read_bytes()
    assert (project / "requirements.txt").read_text() == f"decant=={version('decant')}\n"
    params = parse_params((project / "params.yaml").read_text(encoding="utf-8"))
    named = params["teacher"]["checkpoint"]
    assert named == params["tokenizer"]["checkpoint"]
    assert named == f"../../{checkpoint.name}"
    assert params["capture"]["signals"]["attentions"]["layers"] == [4]
    assert "pkd-attention-2" in params["students"]
    assert sorted(path.name for path in place.iterdir()) == ["my-task", "reviews.csv"]
    assert "no faults" in run(project, "decant", "check")


def test_an_upgrade_starts_every_stage(place: Path) -> None:
    """Catches results of another version that no stage is asked about.

    Whether they still hold is decided by the stamp of each stage, not by DVC.
    """
    project = place / "my-task"
    stages = YAML(typ="safe").load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    names = parse_params((project / "params.yaml").read_text(encoding="utf-8"))["students"]
    for stage in stages.values():
        do = stage.get("do", stage)
        for out in [*do.get("outs", []), *do.get("metrics", []), *do.get("plots", [])]:
            path = next(iter(out)) if isinstance(out, dict) else out
            for name in names if "do" in stage else [""]:
                made = project / path.replace("${key}", name)
                made.parent.mkdir(parents=True, exist_ok=True)
                made.write_text("{}", encoding="utf-8")
    run(project, "dvc", "commit", "--force", "--quiet")
    assert "up to date" in run(project, "dvc", "status")
    (project / "requirements.txt").write_text("decant==9.0\n", encoding="utf-8")
    changed = set(re.findall(r"^([\w@-]+):$", run(project, "dvc", "status"), re.MULTILINE))
    each = {f"{stage}@{name}" for stage in ("select", "distill", "evaluate") for name in names}
    assert changed == {*STAGE_ONE, *each, "report"}


def test_another_version_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches students trained by code of which the project knows nothing."""
    monkeypatch.chdir(place / "my-task")
    asked = Path("requirements.txt")
    for line in ("decant==9.0", "decant[sample]== 9.0 ; python_version > '3'", "x\ndecant==9.0"):
        asked.write_text(line, encoding="utf-8")
        result = invoke("prepare")
        assert result.exit_code == 1
        installed = f"asks for decant 9.0, but {version('decant')} is installed."
        assert f"prepare: requirements.txt {installed} Install that version" in result.stderr
    for line in (f"decant[sample]=={version('decant')}", "decant>=0.1", "decant-x==9.0", ""):
        asked.write_text(line, encoding="utf-8")
        assert invoke("prepare").exit_code == 0, line


def test_within_a_repository(place: Path, checkpoint: Path) -> None:
    """Catches a repository in a repository, and a commit among someone's own changes."""
    for name in ("reviews.csv", "my-task"):
        (place / name).rename(place / name.replace("my-task", "old"))
    run(place, "git", "init", "--quiet")
    (place / "empty").mkdir()
    result = new("empty", "--teacher", str(checkpoint))
    assert result.exit_code == 0, result.output
    assert "git: commit the new files" in result.stdout and "sample:" not in result.stdout
    assert not (place / "empty/.git").exists() and (place / "empty/data.dvc").exists()


def test_nothing_is_left_of_what_is_refused(place: Path, checkpoint: Path) -> None:
    """Catches a half-written project, and one that is written over."""
    before = sorted(place.rglob("*"))
    result = new("my-task")
    assert result.exit_code == 1 and "my-task is not an empty folder. Name a new" in result.stderr
    result = invoke("new", "other", "--data", "reviews.csv", "--text", "text", "--label", "text")
    assert result.exit_code == 1
    assert result.stderr.startswith("new: column 'text' has "), result.stderr
    result = new("other", "--text", "txt")
    assert "new: reviews.csv has no column 'txt' for --text; it has 'text', 'label'. Did you" in (
        result.stderr
    )
    result = new("other", "--teacher", "./nowhere")
    assert result.exit_code == 1 and "./nowhere: no such folder" in result.stderr
    assert new("other", "--encoding", "klingon").exit_code == 2
    assert sorted(place.rglob("*")) == before


def test_a_folder_that_was_empty_stays(place: Path) -> None:
    """Catches parents made for nothing, and an empty folder of the user's that is gone."""
    (place / "mine").mkdir()
    before = sorted(place.rglob("*"))
    for folder in ("mine", "far/away/other"):
        assert new(folder, "--text", "txt").exit_code == 1
        assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("folder", ["other", "far/other", "mine"])
def test_why_dvc_fails_is_said(place: Path, checkpoint: Path, folder: str) -> None:
    """Catches a failure without its reason, and a half-made project that it leaves behind."""
    (place / "mine").mkdir()
    shutil.rmtree(place / "my-task")
    run(place, "git", "init", "--quiet")
    (place / ".gitignore").write_text("*.dvc\n", encoding="utf-8")
    before = sorted(place.rglob("*"))
    result = new(folder, "--teacher", str(checkpoint))
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert f"new: {place / folder} was not made, because 'dvc add data' failed: ERROR: " in (
        result.stderr
    )
    assert "data.dvc' is git-ignored" in result.stderr
    assert sorted(place.rglob("*")) == before
    (place / ".gitignore").unlink()
    assert new(folder, "--teacher", str(checkpoint)).exit_code == 0


def test_why_git_fails_is_said(
    place: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a commit that a hook refuses, after which a project seems to be there."""
    hook = place / "hooks" / "pre-commit"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\necho no commits on Sundays >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    for number, (key, value) in enumerate({"core.hooksPath": str(hook.parent)}.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    before = sorted(place.rglob("*"))
    result = new("other", "--teacher", str(checkpoint))
    assert result.exit_code == 1
    assert "commit --quiet --message Start the project' failed: no commits on Sundays" in (
        result.stderr
    )
    assert sorted(place.rglob("*")) == before


def test_ctrl_c_leaves_nothing(
    place: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a repository and a cache that an interrupted command leaves in the folder."""
    started: list[str] = []
    run_command = subprocess.run

    def interrupted(command: Sequence[str], **options: Any) -> object:
        started.append(" ".join(command))
        if "add" in command and "dvc" in command:
            run_command(command, **options)  # it is all but done when the user gives up
            raise KeyboardInterrupt
        return run_command(command, **options)

    monkeypatch.setattr(subprocess, "run", interrupted)
    before = sorted(place.rglob("*"))
    result = new("other", "--teacher", str(checkpoint))
    assert result.exit_code == 1 and "new: interrupted; no result was left half-wr" in result.stderr
    assert any("init" in command for command in started) and "add" in started[-1]
    assert sorted(place.rglob("*")) == before
