"""A project under real git and DVC, in a folder of its own, that counts what its stages do."""

import copy
import os
import re
import shutil
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from tests.forking import commands
from tests.imports import ROOT
from tests.small_project import PARAMS, change, make_project, write_params


class DvcProject:
    """A project under git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = copy.deepcopy(PARAMS)
        self._counts = folder.parent / "counts"

    def fail(self, *command: str) -> str:
        """Run a command that must fail, and return all that it printed."""
        done = self._run(*command)
        assert done.returncode != 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, *command: str) -> str:
        """Run a command in the project and return all that it printed."""
        done = self._run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(commands()), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT / "tests" / "counting"),
            "COUNTS": str(self._counts),
        }
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def repro(self, *args: str) -> list[str]:
        """Run `dvc repro` and return the stages that ran, in order."""
        self._counts.write_text("", encoding="utf-8")
        output = self.run("dvc", "repro", *args)
        return re.findall(r"Running stage '([^']+)'", output)

    def rows_forwarded(self, stage: str) -> int:
        """Return the rows that a stage sent through the teacher in the last `repro`."""
        lines = [line.split() for line in self._counts.read_text(encoding="utf-8").splitlines()]
        return sum(int(line[2]) for line in lines if line[:2] == [stage, "forward"])

    def rows_forwarded_by(self, n_layers: int) -> int:
        """Return the rows that all stages of the last `repro` sent through such models."""
        lines = [line.split() for line in self._counts.read_text(encoding="utf-8").splitlines()]
        return sum(int(line[2]) for line in lines if line[1::2] == ["forward", str(n_layers)])

    def counts(self, event: str) -> list[str]:
        """Return the stage arguments of each event of the last `repro`."""
        lines = self._counts.read_text(encoding="utf-8").splitlines()
        return [line.split()[0] for line in lines if line.split()[1] == event]

    def counts_by_event(self) -> set[str]:
        """Return the kinds of events of the last `repro`."""
        lines = self._counts.read_text(encoding="utf-8").splitlines()
        return {line.split()[1] for line in lines}

    def change(self, path: str, value: object) -> None:
        """Change a value of params.yaml."""
        self.params = change(self.params, path, value)
        write_params(self.folder, self.params)

    def commit(self, message: str) -> None:
        """Commit everything to git."""
        self.run("git", "add", "--all")
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        self.run("git", *author, "commit", "--quiet", "-m", message)

    def out_digests(self) -> dict[str, str]:
        """Return DVC's digest of every output."""
        lock = YAML(typ="safe").load((self.folder / "dvc.lock").read_text(encoding="utf-8"))
        return {
            out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]
        }


def make_dvc_project(folder: Path, **changes: object) -> DvcProject:
    """Write a project with this repository's code, commit it, and return it not yet run.

    `changes` are values of params.yaml by their dotted paths, with `__` for a dot.
    """
    make_project(folder)
    for name in ("pipeline", "stages"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    project = DvcProject(folder)
    for path, value in changes.items():
        project.change(path.replace("__", "."), value)
    project.run("git", "init", "--quiet")
    project.commit("start")
    return project
