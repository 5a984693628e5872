"""A project for a user's own data: a folder in which `dvc repro` works, without any code in it."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.atomic import PARTIAL_SUFFIX, disk_full_is_an_error
from pipeline.core.checkpoint import BUNDLED, find_checkpoint, load_tokenizer
from pipeline.core.errors import DataError, ProjectError
from pipeline.core.settings import parse_params
from pipeline.models.architecture import read_architecture
from pipeline.project.data import Columns, ProjectData, copy_data, read_data
from pipeline.project.files import small_files
from pipeline.project.params import TEMPLATE, Sizes, project_params
from pipeline.project.requirement import requirement
from pipeline.project.sample import TokenSample, sample_tokens

_BYTES_PER_PROBABILITY = 2


@dataclass(frozen=True)
class Project:
    """A project that was made."""

    data: ProjectData
    n_kept: int
    """Training rows that are used."""
    sample: TokenSample
    attention_bytes: float
    """Estimate of the attention maps that the store is going to have."""
    is_committed: bool
    """False where the folder lies in a git repository that was there before."""


def create_project(
    folder: Path,
    source: Path,
    columns: Columns,
    *,
    encoding: str,
    teacher: str | None,
    max_rows: int,
    check: Callable[[dict[str, Any]], None],
) -> Project:
    """Make a project in `folder`, which must be empty or absent, for the data in `source`.

    `teacher` is a checkpoint's name, None for the packaged one; `max_rows` is the number of
    training rows to keep at most; `check` refuses a params.yaml with faults. When anything is
    refused, nothing is left behind.

    Raises:
        ProjectError: the folder is in use, or there is no git.
        DataError: the data cannot be used so.
        CheckpointError: the teacher cannot be used.
        SettingsError: the teacher does not go with the students of the template.
    """
    folder = folder.resolve()
    _check_folder(folder)
    name = BUNDLED if teacher is None else _full_name(teacher)
    draft = folder.with_name(folder.name + PARTIAL_SUFFIX)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with disk_full_is_an_error(folder):
            data = _write_data(draft / "data", source, columns, encoding)
        checkpoint = find_checkpoint(name)
        layers = read_architecture(checkpoint)
        n_train = len(data.corpus["train"])
        sizes = Sizes(n_train, max_rows, layers.n_layers)
        text = project_params(
            TEMPLATE.read_text(encoding="utf-8"), columns, None if teacher is None else name, sizes
        )
        params = parse_params(text)
        check(params)
        files = small_files(folder.name, requirement(name)) | {"params.yaml": text}
        for file, content in files.items():
            (draft / file).parent.mkdir(exist_ok=True)
            (draft / file).write_text(content, encoding="utf-8")
        sample = sample_tokens(
            data.corpus["train"], load_tokenizer(checkpoint), params["tokenizer"]["max_length"]
        )
        folder.mkdir(parents=True, exist_ok=True)
        for path in draft.iterdir():
            path.rename(folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    n_maps = layers.n_heads * len(params["capture"]["signals"]["attentions"]["layers"])
    n_rows = sum(map(len, data.corpus.values())) - n_train + sizes.n_kept
    per_row = n_maps * sample.mean_square_length * _BYTES_PER_PROBABILITY
    return Project(data, sizes.n_kept, sample, n_rows * per_row, _track(folder))


def _check_folder(folder: Path) -> None:
    if shutil.which("git") is None:
        raise ProjectError("git was not found. DVC and this project need it; install it first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is not an empty folder. Name a new one; nothing was written.")


def _full_name(checkpoint: str) -> str:
    """Return a checkpoint's name that holds in the project's folder, too."""
    path = Path(checkpoint).expanduser()
    return str(path.resolve()) if path.is_dir() else checkpoint


def _write_data(folder: Path, source: Path, columns: Columns, encoding: str) -> ProjectData:
    folder.mkdir(parents=True)
    copy_data(source, folder, encoding)
    try:
        return read_data(folder, columns)
    except DataError as error:
        # The user knows the file that was copied, not the copy.
        (first, *_) = [path for path in folder.iterdir() if path.stem == "train"] or [folder]
        message = str(error) if source.is_dir() else str(error).replace(str(first), str(source))
        raise DataError(message.replace(str(folder), str(source))) from None


def _track(folder: Path) -> bool:
    """Put the project under git, unless it lies in a repository, and its data under DVC."""
    inside = subprocess.run(
        ("git", "rev-parse", "--is-inside-work-tree"), cwd=folder, capture_output=True, check=False
    )
    if inside.returncode:
        _run(("git", "init", "--quiet"), folder)
    _run((sys.executable, "-m", "dvc", "add", "--quiet", "data"), folder)
    if not inside.returncode:
        return False
    _run(("git", "add", "--all"), folder)
    named = subprocess.run(
        ("git", "config", "user.email"), cwd=folder, capture_output=True, check=False
    )
    # DVC's curves and experiments need a commit, be the user known to git or not.
    nobody = ("-c", "user.name=decant", "-c", "user.email=decant@localhost")
    author = () if named.returncode == 0 else nobody
    _run(("git", *author, "commit", "--quiet", "--message", "Start the project"), folder)
    return True


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProjectError(
            f"{folder} was written, but '{' '.join(command[-4:])}' failed in it: "
            f"{' '.join((done.stderr or done.stdout).split())}"
        )
