"""A project whose stages all have run, and a way to run one stage in this process."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.project_template import STAGE_ONE
from tests.small_project import PARAMS, make_project

RunStage = Callable[..., Result]


def invoke(name: str, *args: str) -> Result:
    """Run a stage's command in the current folder."""
    return CliRunner().invoke(import_module(f"stages.{name}").main, args)


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the result of every stage; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("finished") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in STAGE_ONE:
            assert invoke(name).exit_code == 0
        for student in PARAMS["students"]:
            for name in ("select", "distill", "evaluate"):
                assert invoke(name, student).exit_code == 0
        assert invoke("report").exit_code == 0
    return folder


@pytest.fixture
def project(finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project, which is the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    monkeypatch.chdir(folder)
    return folder
