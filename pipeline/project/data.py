"""A user's data in a new project: copied as UTF-8, and checked as `prepare` is going to read it."""

import difflib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.text.corpus import Corpus, DataSettings, read_corpus
from pipeline.text.files import find_splits, read_table
from pipeline.text.labels import label_ids, label_names

_MOST_NEW_LABELS = 0.5


@dataclass(frozen=True)
class Columns:
    """The columns that were asked for, by the option that named each."""

    text: str
    label: str
    text_pair: str | None = None

    def options(self) -> dict[str, str]:
        """Return the column by its option of `decant new`."""
        pair = {} if self.text_pair is None else {"--text-pair": self.text_pair}
        return {"--text": self.text, **pair, "--label": self.label}


@dataclass(frozen=True)
class ProjectData:
    """What lies in the data folder of a new project."""

    corpus: Corpus
    """As `prepare` reads it, with validation set aside where there was none."""
    label_counts: dict[str, int]
    """Training rows by label, in the order of the labels' numbers."""


def copy_data(source: Path, folder: Path, encoding: str) -> None:
    """Copy a file, or the files of a folder that are splits, into an empty folder.

    A single file becomes the training file. CSV, TSV and JSON lines are written as UTF-8.

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


def read_data(folder: Path, columns: Columns) -> ProjectData:
    """Read what `copy_data` copied.

    Raises:
        DataError: a column is missing, a row has no text, or the labels are none.
    """
    for split, path in find_splits(folder).items():
        _check_columns(path, split, columns)
    names = {"text": columns.text, "text_pair": columns.text_pair, "label": columns.label}
    settings = DataSettings.model_validate(
        {"source": "files", "path": str(folder), "columns": names}
    )
    corpus = read_corpus(settings)
    labels = corpus["train"]["label"]
    n_labelled, n_values = len(labels) - labels.null_count, len(pc.unique(pc.drop_null(labels)))
    if n_values > _MOST_NEW_LABELS * n_labelled and n_values > 1:
        raise DataError(
            f"column '{columns.label}' has {n_values:,} different values in the {n_labelled:,} "
            "training rows that have one; labels repeat. Name another column with --label."
        )
    order = label_names(corpus, None)
    numbers = {
        split: label_ids(table["label"], order, None, split) for split, table in corpus.items()
    }
    counts = _counts(numbers["train"])
    return ProjectData(corpus, {name: counts.get(i, 0) for i, name in enumerate(order)})


def _check_columns(path: Path, split: str, columns: Columns) -> None:
    """Refuse a column that is not in the file, with the nearest one that is."""
    found = read_table(path).column_names
    for option, column in columns.options().items():
        if column in found or (option, split) == ("--label", "test"):
            continue
        near = difflib.get_close_matches(column, found, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise DataError(
            f"{path} has no column '{column}' for {option}; {hint}It has {', '.join(found)}."
        )


def _counts(numbers: pa.Array) -> dict[int, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(numbers).to_pylist()}
