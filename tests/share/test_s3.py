"""A store that is shared through a bucket of S3, by the README's commands.

DVC and `decant` run in this process; git repositories, bucket and what travels are real.
"""

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dvc.cli import main as run_dvc

from pipeline.core.fingerprint import digest_folder
from pipeline.project.files import requirement, small_files
from stages.cli import main as decant
from tests.imports import ROOT
from tests.project_template import STAGE_ONE
from tests.share.bucket import KEY_ID, SECRET, Bucket, serve_bucket
from tests.small_project import PARAMS, make_project, write_params

# DVC's own use of pygtrie.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

STORE = Path("artifacts/teacher_store")
STUDENT: dict[str, Any] = {
    "model": {"n_layers": 2, "warm_start": "none"},
    "objectives": {"soft_target": {}, "attentions": {"layer_map": [[1, 2]]}},
}
SETTINGS = {
    **PARAMS,
    "teacher": {"checkpoint": "base", "epochs": 0},
    "capture": {"segment_rows": 80, "signals": {"attentions": {"layers": [1, 2]}}},
    "students": {"kd-2": STUDENT},
}
READ = ("manifest.json", "zarr.json", "rows", "logits", "attentions/02", "attentions/zarr.json")
READ += ("teacher/config.json", "teacher/tokenizer.json", "teacher/tokenizer_config.json")
"""What the student reads of the store."""
NOT_SENT = (".lock", ".gitignore")


@dataclass(frozen=True)
class Team:
    """A team that captured and has sent its store to a bucket."""

    folder: Path
    repository: Path
    """Bare; what others clone."""
    bucket: Bucket


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team's folder, repository and bucket; not to be changed."""
    folder = tmp_path_factory.mktemp("team")
    project, repository = folder / "project", folder / "team.git"
    make_project(project)
    write_params(project, SETTINGS)
    for name, text in small_files(
        "project", "classification", requirement("base"), has_files=True
    ).items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    with serve_bucket("bucket") as bucket, pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        git("init", "--quiet")
        for stage in STAGE_ONE:
            succeed(decant_run(stage))
        dvc("commit", "--force", *STAGE_ONE)
        for command in readme_commands("dvc remote add --default shared s3:"):
            dvc(*own(command, bucket).split()[1:])
        succeed(decant_run("push"))
        git("add", "--all")
        git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "Capture")
        git("clone", "--quiet", "--bare", ".", str(repository))
        yield Team(project, repository, bucket)


def readme_commands(first: str) -> list[str]:
    """Return the lines of the README's block of commands that begins so."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text[text.index(f"\n{first}") :].split("```")[0].strip().splitlines()
    return [line.partition(" #")[0] for line in lines]


def own(command: str, bucket: Bucket) -> str:
    """Put this test's values in the place of the README's."""
    for shown, here in {
        "https://s3.example.com": bucket.url,
        "key_id ID": f"key_id {KEY_ID}",
        "key SECRET": f"key {SECRET}",
    }.items():
        command = command.replace(shown, here)
    return command


def git(*args: str) -> str:
    """Run git here and return what it prints."""
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True).stdout


def dvc(*args: str) -> None:
    """Run DVC here; it must end well."""
    assert run_dvc(list(args)) == 0, args


def decant_run(*args: str) -> Result:
    """Run `decant` here."""
    return CliRunner().invoke(decant, args)


def succeed(result: Result) -> None:
    """Check that a command ended well."""
    assert result.exit_code == 0, result.output


@pytest.fixture
def clone(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another team's clone, in which it is."""
    git("clone", "--quiet", str(team.repository), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


@pytest.fixture
def with_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `aws configure` leaves."""
    path = tmp_path / "credentials"
    path.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))


def md5s(folder: Path, *names: str) -> dict[str, int]:
    """Return the size of every file below `folder`, in these parts of it, by its MD5."""
    paths = [path for name in names for path in [folder / name, *(folder / name).rglob("*")]]
    contents = [path.read_bytes() for path in paths if path.is_file()]
    return {hashlib.md5(data, usedforsecurity=False).hexdigest(): len(data) for data in contents}


def files_of(sent: dict[str, int]) -> dict[str, int]:
    """Return the size of every file among what a bucket sent, by its MD5; DVC's lists are none."""
    names = {"".join(key.split("/")[-2:]): size for key, size in sent.items()}
    return {name: size for name, size in names.items() if not name.endswith(".dir")}


def test_a_clone_gets_the_store(team: Team, clone: Path, with_credentials: None) -> None:
    """Catches commands in the README that do not share a store over S3, and a secret in git."""
    dvc("pull", "prepare", "augment", "generate", "capture")
    store = digest_folder(clone / STORE, without=NOT_SENT)
    assert store == digest_folder(team.folder / STORE, without=NOT_SENT)
    succeed(decant_run("verify"))
    assert SECRET in (team.folder / ".dvc" / "config.local").read_text(encoding="utf-8")
    assert team.bucket.url in (clone / ".dvc" / "config").read_text(encoding="utf-8")
    assert git("log", "--oneline", f"-S{team.bucket.url}")
    assert not git("log", "--oneline", f"-S{SECRET}")


def test_only_what_a_student_reads_leaves_the_bucket(
    team: Team, clone: Path, with_credentials: None
) -> None:
    """Catches a fetch of a part for which the bucket has to hand out more than that part."""
    team.bucket.handed_out.clear()
    succeed(decant_run("fetch", "--for", "kd-2"))
    tokens = md5s(team.folder / "artifacts", "tokens", "augmented", "generated")
    wanted = {**md5s(team.folder / STORE, *READ), **tokens}
    assert files_of(team.bucket.handed_out) == wanted
    others = md5s(team.folder / STORE, "cls", "attentions/01", "teacher/model.safetensors")
    assert len(others) > 4 and others.items() <= files_of(team.bucket.stored).items()


def test_an_import_comes_from_the_bucket(team: Team, clone: Path, with_credentials: None) -> None:
    """Catches an import for which the credentials of AWS, which the README names, do not do."""
    team.bucket.handed_out.clear()
    dvc("import", "--quiet", str(team.repository), "artifacts/tokens", "--out", "imported")
    assert files_of(team.bucket.handed_out) == md5s(team.folder / "artifacts", "tokens")
