"""What a new project is written from: this repository's own files, and all of it in a wheel."""

import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.core.stamp import RECORDED_CODE
from pipeline.project import files
from tests.imports import PACKAGES, ROOT
from tests.project_template import FOLDER, STAGE_ONE, derive


@pytest.mark.parametrize("name", derive())
def test_it_is_derived_from_this_repository(name: str) -> None:
    """Catches a stage, an output or a default that new projects do not get."""
    found = (FOLDER / name).read_text(encoding="utf-8")
    assert found == derive()[name], "run python -m tests.project_template"


def test_stages_name_no_file_of_the_package() -> None:
    """Catches a dep that a user's project does not have, so that DVC refuses to run."""
    text = (FOLDER / "pipeline.yaml").read_text(encoding="utf-8")
    ours = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    theirs = YAML(typ="safe").load(text)["stages"]
    assert list(theirs) == list(ours) and set(STAGE_ONE) < set(ours)
    for name, stage in theirs.items():
        stage, own = stage.get("do", stage), ours[name].get("do", ours[name])
        assert stage["cmd"].split()[:2] == ["decant", name]
        assert {key: stage[key] for key in stage if key not in ("cmd", "deps")} == {
            key: own[key] for key in own if key not in ("cmd", "deps")
        }
        data = [dep for dep in own["deps"] if dep.split("/")[0] not in PACKAGES]
        assert data and len(data) < len(own["deps"])
        assert stage["deps"] == ["requirements.txt", *data]


def test_dvc_is_set_up_as_here() -> None:
    """Catches analytics that are on, and a cache or a private setting that git takes in."""
    assert (ROOT / ".dvc/config").read_text(encoding="utf-8") == files.DVC_CONFIG
    assert (ROOT / ".dvc/.gitignore").read_text(encoding="utf-8") == files.DVC_GITIGNORE
    for name, text in ((".dvcignore", files.DVCIGNORE), (".gitignore", files.GITIGNORE)):
        ours = (ROOT / name).read_text(encoding="utf-8").splitlines()
        assert {line for line in text.splitlines() if line != ".venv/"} <= set(ours)


def test_a_wheel_carries_it() -> None:
    """Catches a file that is in the checkout alone, so that an installed command has none."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    patterns = setuptools["package-data"]["pipeline"]
    carried = {path for pattern in patterns for path in (ROOT / "pipeline").glob(pattern)}
    data = [path for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"]
    assert len(data) == len(derive()) and set(data) <= carried
    assert files.PIPELINE_TEMPLATE in data
    assert RECORDED_CODE in carried
    assert (FOLDER / "__init__.py").is_file() and Path(files.__file__).parent == FOLDER
