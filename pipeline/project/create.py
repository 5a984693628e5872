"""A project for a user's own data: a folder in which `dvc repro` works, without any code in it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.core.atomic import disk_full_is_an_error
from pipeline.core.checkpoint import BUNDLED, find_checkpoint, load_tokenizer, read_config
from pipeline.core.errors import CheckpointError, DataError, ProjectError
from pipeline.core.settings import parse_params
from pipeline.core.weights import read_shapes
from pipeline.models.architecture import Architecture, load_config, read_architecture
from pipeline.models.limits import most_tokens
from pipeline.models.plain_encoders import plain_limits
from pipeline.project.data import ProjectData, Request, copy_data, read_data
from pipeline.project.files import requirement, small_files
from pipeline.project.params import TEMPLATE, ProjectTeacher, Sizes, max_length, project_params
from pipeline.project.students import matched_layers
from pipeline.tasks.task import MaskingSettings, Task
from pipeline.tasks.token_table import write_tokens
from pipeline.teacher.architecture import why_not_teacher, with_vocabulary
from pipeline.text.corpus import Corpus
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import open_tokens
from pipeline.text.unknown_tokens import UnknownTokens, count_unknown

_N_TEXTS = 1000
_BYTES_PER_PROBABILITY = 2
_LARGE_STORE_BYTES = 2e9


@dataclass(frozen=True)
class TokenSample:
    """Some texts as rows of a token table."""

    n_texts: int
    unknown: tuple[UnknownTokens, ...]
    """Of the texts, and of those that are to be written: what the tokenizer does not know."""
    mean_square_length: float
    """Of the rows, cut at the longest length, in tokens squared: an attention map's size."""
    rows_per_text: float
    """Several where a question has choices or a text windows; below one where texts are joined."""
    examples_per_text: float
    """The same of examples: a question's choices are one."""


@dataclass(frozen=True)
class Project:
    """A project that was made."""

    data: ProjectData
    sizes: Sizes
    sample: TokenSample
    teacher: ProjectTeacher
    attention_bytes: float
    """Estimate of the attention maps of the default students."""
    is_committed: bool
    """False where the folder lies in a git repository that was there before."""

    @property
    def has_attentions(self) -> bool:
        """Whether attention maps are captured: the store would be large otherwise."""
        return self.attention_bytes <= _LARGE_STORE_BYTES


def create_project(
    folder: Path,
    request: Request,
    *,
    teacher: str | None,
    max_rows: int,
    check: Callable[[dict[str, Any]], None],
) -> Project:
    """Make a project in `folder`, which must be empty or absent.

    `teacher` is a checkpoint's name, None for the packaged one; `max_rows` is the number of
    training rows, and of unlabelled ones, to keep at most; `check` refuses a params.yaml with
    faults. When anything fails, the folder is as it was before.

    Raises:
        ProjectError: the folder is in use, there is no git, or git or DVC fail.
        DataError: the data cannot be used so.
        CheckpointError: the teacher cannot be used, or not for this task.
    """
    folder = folder.resolve()
    _check_folder(folder)
    with _made_or_removed(folder), disk_full_is_an_error(folder):
        data = _write_data(folder / "data", request)
        request = replace(request, metrics=data.metrics)
        checkpoint = find_checkpoint(BUNDLED if teacher is None else teacher)
        used = _teacher(checkpoint, teacher, request, folder)
        template = TEMPLATE.read_text(encoding="utf-8")
        longest = parse_params(template)["tokenizer"]["max_length"]
        sample = sample_tokens(
            data.corpus,
            request.task,
            data.names,
            request.settings.names_by_value,
            checkpoint,
            max_length(request, used.most_tokens, longest),
        )
        sizes = _sizes(data, sample, max_rows)
        n_bytes = _attention_bytes(data, sample, sizes, used.architecture)
        project = Project(
            data, sizes, sample, used, n_bytes, is_committed=not _in_repository(folder)
        )
        text = project_params(template, request, used, sizes, has_attentions=project.has_attentions)
        with contextlib.chdir(folder):  # from where params.yaml names the teacher
            check(parse_params(text))
        pinned = requirement(BUNDLED if used.name is None else used.name)
        has_files = request.source is not None
        files = small_files(folder.name, request.kind, pinned, has_files=has_files)
        files["params.yaml"] = text
        for file, content in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        _track(folder, project, has_files=has_files)
    return project


def sample_tokens(
    corpus: Corpus,
    task: Task,
    names: Sequence[str],
    mapping: Mapping[str, str] | None,
    checkpoint: Path,
    max_length: int,
) -> TokenSample:
    """Tokenise up to 1,000 training texts, drawn evenly from all, as `prepare` does.

    `names` and `mapping` are those of the labels, as `write_tokens` takes them.

    Raises:
        CheckpointError: the checkpoint has no fast tokenizer.
        DataError, SettingsError: as `write_tokens`; or it knows nothing of the texts.
    """
    train = corpus["train"]
    chosen = np.unique(np.linspace(0, len(train) - 1, _N_TEXTS, dtype=np.int64))
    tokenizer = load_tokenizer(checkpoint, is_estimate=True)
    settings = TokenizerSettings(checkpoint=str(checkpoint), max_length=max_length)
    how = task.tokenising(tokenizer, settings, MaskingSettings(), checkpoint)
    with TemporaryDirectory() as folder:
        write_tokens({"train": train.take(chosen)}, task, names, mapping, how, Path(folder))
        tokens = open_tokens(Path(folder))
        split = tokens.splits["train"]
        lengths = split.lengths.astype(np.float64)
        return TokenSample(
            n_texts=len(chosen),
            unknown=tuple(count_unknown(tokens, "train", tokenizer)),
            mean_square_length=float((lengths**2).mean()),
            rows_per_text=len(split) / len(chosen),
            examples_per_text=split.n_examples / len(chosen),
        )


def _check_folder(folder: Path) -> None:
    if shutil.which("git") is None:
        raise ProjectError("git was not found. DVC and this project need it; install it first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is not an empty folder. Name a new one; nothing was written.")


@contextlib.contextmanager
def _made_or_removed(folder: Path) -> Iterator[None]:
    """Make a folder that may exist, empty; leave none, or an empty one, when what follows fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        for path in missing:
            with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
                path.rmdir()
        raise


def _write_data(folder: Path, request: Request) -> ProjectData:
    folder.mkdir()
    if request.source is None:
        (folder / ".gitkeep").touch()
        return read_data(folder, request)
    copy_data(request.source, folder, request.encoding)
    try:
        return read_data(folder, request)
    except DataError as error:
        # The user knows the file that was copied, not the copy.
        (first, *_) = [path for path in folder.iterdir() if path.stem == "train"] or [folder]
        message = str(error)
        if not request.source.is_dir():
            message = message.replace(str(first), str(request.source))
        raise DataError(message.replace(str(folder), str(request.source))) from None


def _teacher(checkpoint: Path, name: str | None, request: Request, folder: Path) -> ProjectTeacher:
    """Return the teacher as the project is going to name it, if it can do the task."""
    architecture = read_architecture(checkpoint)
    if why := why_not_teacher(architecture, request.task):
        raise CheckpointError(f"--teacher {BUNDLED if name is None else name}: {why}")
    architecture = with_vocabulary(architecture, checkpoint, request.task)
    plain = plain_limits(read_config(checkpoint), read_shapes(checkpoint))
    config = load_config(checkpoint) if plain is None else plain
    return ProjectTeacher(_name_from(folder, name), architecture, most_tokens(config))


def _name_from(folder: Path, name: str | None) -> str | None:
    """Return a checkpoint's name as it holds in the project's folder, on other machines too."""
    if name is None or not Path(name).expanduser().is_dir():
        return name
    return os.path.relpath(Path(name).expanduser().absolute(), folder)


def _sizes(data: ProjectData, sample: TokenSample, max_rows: int) -> Sizes:
    """Return what the settings depend on; examples are as many for each text as in the sample."""
    n_all = len(data.corpus["train"])
    n_train = n_all - data.n_unlabelled_file
    n_kept, n_more = min(n_train, max_rows), min(data.n_unlabelled_file, max_rows)
    n_labelled = data.n_labelled * n_kept / n_train * sample.examples_per_text
    return Sizes(
        n_train=n_train,
        n_unlabelled=data.n_unlabelled_file,
        max_rows=max_rows,
        n_labelled=max(1, int(n_labelled)),
        n_examples=max(1, int((n_kept + n_more) * sample.examples_per_text)),
    )


def _attention_bytes(
    data: ProjectData, sample: TokenSample, sizes: Sizes, teacher: Architecture
) -> float:
    """Return the estimated bytes of the attention maps that the default students match."""
    n_others = sum(len(table) for split, table in data.corpus.items() if split != "train")
    n_rows = (sizes.n_kept + sizes.n_unlabelled_kept + n_others) * sample.rows_per_text
    n_maps = teacher.n_heads * len(matched_layers(teacher))
    return n_rows * n_maps * sample.mean_square_length * _BYTES_PER_PROBABILITY


def _in_repository(folder: Path) -> bool:
    """Say whether a folder lies in a git repository."""
    command = ("git", "rev-parse", "--is-inside-work-tree")
    english = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=folder, env=english, capture_output=True, text=True, check=False
    )
    if done.returncode and "not a git repository" not in done.stderr:
        raise _failure(folder, command, done.stderr)
    return done.returncode == 0


def _track(folder: Path, project: Project, *, has_files: bool) -> None:
    """Put the project under git, unless it lies in a repository, and its data under DVC."""
    if project.is_committed:
        _run(("git", "init", "--quiet"), folder)
    if has_files:
        _run((sys.executable, "-m", "dvc", "add", "data"), folder)
    if not project.is_committed:
        return
    _run(("git", "add", "--all"), folder)
    is_known = [
        subprocess.run(("git", "var", who), cwd=folder, capture_output=True, check=False).returncode
        for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    ] == [0, 0]
    # DVC's curves and experiments need a commit, be the user known to git or not.
    nobody = ("-c", "user.name=decant", "-c", "user.email=decant@localhost")
    author = () if is_known else nobody
    _run(("git", *author, "commit", "--quiet", "--message", "Start the project"), folder)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failure(folder, command, done.stderr or done.stdout)


def _failure(folder: Path, command: Sequence[str], output: str) -> ProjectError:
    """Return what a command that failed says of it: its errors, or else all of its output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error:", "fatal:"))]
    shown = " ".join(command).removeprefix(f"{sys.executable} -m ")
    return ProjectError(
        f"{folder} was not made, because '{shown}' failed: "
        f"{' '.join(errors or lines) or 'it does not say why'}"
    )
