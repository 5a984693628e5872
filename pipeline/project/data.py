"""A user's data in a new project: copied as UTF-8, and checked as `prepare` is going to read it."""

import codecs
import difflib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.settings import parse_section
from pipeline.project.columns import named_columns, option, option_faults
from pipeline.project.fit import Fit, find_fit
from pipeline.project.presets import Preset, check_labels
from pipeline.tasks import TASKS
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.data_faults import data_faults
from pipeline.tasks.tag_scheme import tag_fault
from pipeline.tasks.task import Kind, Task
from pipeline.text.corpus import UNLABELLED_ROWS, Corpus, DataSettings, read_corpus
from pipeline.text.files import find_splits, read_table
from pipeline.text.source import Source

_OF_WORDS = ("accuracy", "macro_f1")
"""Metrics of words whose labels are no tags of entities."""
_MOST_NEW_LABELS = 0.5

_AS_OPTIONS = {
    r"\bdata\.columns\.(\w+)": lambda found: option(found[1]),
    r"\bdata\.labels\b": lambda found: "--labels",
    r"\bdata\.path\b": lambda found: "--data",
    r"\btokenizer\.checkpoint\b": lambda found: "--teacher",
    r"\btask\.kind(: (\w+))?": lambda found: f"--task{' ' if found[2] else ''}{found[2] or ''}",
}
"""Settings of params.yaml, which messages of other stages name, as options of `decant new`."""


@dataclass(frozen=True)
class Request:
    """What a new project is to predict, and from what."""

    kind: Kind
    columns: Mapping[str, str | tuple[str, ...]]
    """The settings of `data.columns` that are given, by name."""
    source: Path | None
    """A file, or a folder of files; None: the preset's data set of the Hub."""
    encoding: str = "utf-8"
    """Of files of text."""
    labels: tuple[str, ...] | None = None
    """Names in order of their numbers; None: as the data have them."""
    preset: Preset | None = None
    metrics: tuple[str, ...] | None = None
    """Of the task, in the place of the kind's own or the preset's."""

    @property
    def task(self) -> Task:
        """The kind of task, with its metrics."""
        return TASKS[self.kind].judged_by(self.task_section.get("metrics"))

    @property
    def task_section(self) -> dict[str, Any]:
        """The section `task` of params.yaml."""
        section = {"kind": self.kind} if self.preset is None else self.preset.settings["task"]
        return {**section, **({} if self.metrics is None else {"metrics": list(self.metrics)})}

    def data_section(self, folder: str) -> dict[str, Any]:
        """Return the section `data` of params.yaml; `folder` is where the files are, if any."""
        section: dict[str, Any] = {"source": "files", "path": folder, "columns": dict(self.columns)}
        if self.source is None:
            assert self.preset is not None
            ours = self.preset.settings["data"]
            hub = {key: ours[key] for key in ("hub_id", "splits") if key in ours}
            section = {"source": "hub", "path": folder, **hub, "columns": dict(self.columns)}
        return section if self.labels is None else section | {"labels": list(self.labels)}

    @property
    def settings(self) -> DataSettings:
        """The section `data` for files in the current folder."""
        return parse_section(DataSettings, self.data_section("data"), "data")


def make_request(
    kind: Kind | None,
    preset: Preset | None,
    columns: Mapping[str, str | tuple[str, ...]],
    labels: tuple[str, ...] | None,
    source: Path | None,
    encoding: str,
) -> Request:
    """Return what the options of `decant new` ask for, with a preset's columns under theirs.

    Raises:
        SettingsError: an option is missing, belongs to another kind of task, or contradicts the
            preset, with one line for each fault.
    """
    if preset is None:
        if source is None:
            raise SettingsError("give --data, your files, or --preset, a data set of the Hub")
        request = Request(kind or CLASSIFICATION.kind, columns, source, encoding, labels)
    else:
        task, data = preset.settings["task"], preset.settings["data"]
        if kind not in (None, task["kind"]):
            raise SettingsError(
                f"--preset {preset.name} is a {task['kind']}, not --task {kind}; leave out one "
                "of both"
            )
        named = tuple(data["labels"]) if "labels" in data else None
        merged = {**data["columns"], **columns}
        request = Request(task["kind"], merged, source, encoding, labels or named, preset)
    known = dict(request.columns) | ({} if request.labels is None else {"labels": ""})
    faults = option_faults(request.kind, known)
    names = request.labels or ()
    if request.labels is not None and (
        len(set(names)) < max(2, len(names)) or any(name.isdecimal() or not name for name in names)
    ):
        faults.append(
            "--labels needs two names or more that differ and are no numbers, with commas between "
            f"them; got {', '.join(names)}"
        )
    if not faults:
        faults = data_faults(request.settings, request.kind)
    if faults:
        raise SettingsError(*(as_options(fault) for fault in faults))
    return request


def as_options(message: str) -> str:
    """Return a message with the options of `decant new` in the place of settings."""
    for setting, named in _AS_OPTIONS.items():
        message = re.sub(setting, named, message)
    return message


@dataclass(frozen=True)
class ProjectData:
    """The data of a new project."""

    corpus: Corpus
    """As `prepare` reads it, with validation set aside where there was none."""
    names: Sequence[str]
    """Of the labels, in order of their numbers."""
    n_labelled: int
    """Rows of train that have a label."""
    n_unlabelled_file: int
    """Rows of the file of unlabelled texts, which are the last ones of train."""
    labels: str
    """What the labels of the training rows are, in one line."""
    remark: str | None
    """What they may be instead, in one line."""
    metrics: tuple[str, ...] | None = None
    """What suits these labels, where the kind's own metrics do not."""


def copy_data(source: Path, folder: Path, encoding: str) -> None:
    """Copy a file, or the files of a folder that are splits, into an empty folder.

    A single file becomes the training file. Files of text are written as UTF-8.

    Raises:
        DataError: there is no such file, it is of another kind, or not in this encoding.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder. Give --data your data.")
    is_folder = source.is_dir()
    for path in find_splits(source).values() if is_folder else (source,):
        suffix = path.suffix.lower()
        target = folder / (path.name if is_folder else f"train{suffix}")
        if suffix == ".parquet":
            shutil.copyfile(path, target)
        else:
            _copy_text(path, target, encoding)


def _copy_text(source: Path, target: Path, encoding: str) -> None:
    with source.open("rb") as file:
        start = file.read(2)
    if codecs.lookup(encoding).name == "utf-8" and start in (
        codecs.BOM_UTF16_LE,
        codecs.BOM_UTF16_BE,
    ):
        encoding = "utf-16"  # as it says itself
    try:
        with (
            source.open(encoding=encoding, newline="") as reading,
            target.open("w", encoding="utf-8", newline="") as writing,
        ):
            shutil.copyfileobj(reading, writing, 2**20)
    except UnicodeError as error:
        raise DataError(
            f"{source} is not text in {encoding} ({error.args[-1]}). Name its encoding, such as "
            "--encoding gb18030 or --encoding cp1252."
        ) from None


def read_data(folder: Path, request: Request) -> ProjectData:
    """Read what `copy_data` copied to a folder, or the preset's data set of the Hub.

    Raises:
        DataError: a column is missing, a row has no text, or the labels are those of another
            kind of task, which is named.
    """
    fit, n_unlabelled = None, 0
    if request.source is not None:
        files = find_splits(folder)
        tables = {split: read_table(path) for split, path in files.items()}
        for split, path in files.items():
            _check_columns(tables[split], path, split, request)
        fit = _fit(tables["train"], files["train"], request)
        if UNLABELLED_ROWS in tables:
            n_unlabelled = _count_rows(tables[UNLABELLED_ROWS], request)
    try:
        return _read(folder, request, fit, n_unlabelled)
    except DataError as error:
        message = as_options(str(error))
        if fit is not None and "label" in message:
            message = f"{message} {fit.reason[0].upper()}{fit.reason[1:]}. Use {fit.options}."
        raise DataError(message) from None


def _check_columns(table: pa.Table, path: Path, split: str, request: Request) -> None:
    """Refuse a column that is not in the file, with the nearest one that is."""
    source = Source(table, str(path))
    for name, column in named_columns(request.columns, split):
        if source.has(column):
            continue
        near = difflib.get_close_matches(column, table.column_names, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        found = ", ".join(f"'{name}'" for name in table.column_names)
        raise DataError(
            f"{path} has no column '{column}' for {option(name)}; it has {found}.{hint}"
        )


def _count_rows(table: pa.Table, request: Request) -> int:
    """Return the rows that `read_corpus` is going to keep of a file."""
    if not request.task.masks:
        return len(table)
    texts = Source(table, "").strings("text", request.settings.columns.text).to_pylist()
    return sum(1 for text in texts if text and text.strip())


def _fit(train: pa.Table, path: Path, request: Request) -> Fit | None:
    """Return the kind of task that fits better than the one that is asked for, if any does.

    Raises:
        DataError: the columns cannot be meant for that one.
    """
    if request.preset is not None:
        return None
    columns = request.settings.columns
    if request.task.masks:
        columns = columns.model_copy(update={"label": None})
    try:
        fit = find_fit(train, columns)
    except DataError:  # what reads the columns next says what is wrong with them
        return None
    if fit is not None and request.kind in fit.excludes:
        raise DataError(
            f"{path}: {fit.reason}: that is a {fit.kind}, not a {request.kind}. Use {fit.options}."
        )
    if fit is None or fit.kind == request.kind:
        return None
    # Of texts that hold several names, the whole may repeat as a name does.
    is_whole = request.task.predicts == "label" and TASKS[fit.kind].has_one_class
    return None if is_whole else fit


def _read(folder: Path, request: Request, fit: Fit | None, n_unlabelled: int) -> ProjectData:
    section = request.data_section(str(folder))
    settings = parse_section(DataSettings, section, "data")
    task = request.task
    corpus = read_corpus(settings, task.read)
    if request.preset is not None and request.source is not None:
        check_labels(request.preset, corpus, str(folder))
    names_rows = task.has_label_names and task.predicts != "token"
    if names_rows and request.labels is None:
        _check_repeat(corpus["train"]["label"], settings)
    mapping = settings.names_by_value
    names = task.label_names(corpus, mapping)
    encoded = task.encode(corpus, names, mapping)
    n_labelled = {split: int(task.is_labelled(labels).sum()) for split, labels in encoded.items()}
    for split in ("train", "validation"):
        if not n_labelled[split]:
            raise DataError(
                f"no row of {split} has a label, but a teacher needs some to learn from and to be "
                "judged by. Correct the data, or name another column."
            )
    described = task.describe(corpus["train"], encoded["train"], names)
    remark = None
    if names_rows and fit is not None and TASKS[fit.kind].predicts_numbers:
        remark = f"{fit.reason}; if these are amounts and no classes, use {fit.options}"
    metrics = None
    if "entity_f1" in task.metrics and tag_fault(names) is not None:
        metrics = _OF_WORDS
        remark = (
            f"they are no tags of entities, such as B-PER, I-PER and O, so that {metrics[0]} is "
            "measured; if they are numbers of such, name them with --labels O,B-PER,I-PER"
        )
    return ProjectData(corpus, names, n_labelled["train"], n_unlabelled, described, remark, metrics)


def _check_repeat(labels: pa.ChunkedArray, settings: DataSettings) -> None:
    """Refuse labels of which nearly every row has one of its own."""
    values = pc.drop_null(pc.list_flatten(labels) if pa.types.is_list(labels.type) else labels)
    if pa.types.is_dictionary(values.type):
        return
    n_values = len(pc.unique(values))
    if n_values > _MOST_NEW_LABELS * len(values) and n_values > 1:
        raise DataError(
            f"column '{settings.columns.label}' has {n_values:,} different values among "
            f"{len(values):,} labels of training rows; labels repeat. Name another column with "
            "--label."
        )
