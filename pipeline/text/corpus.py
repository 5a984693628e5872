"""Raw text from wherever it lies, as one table per split.

A *corpus* is a mapping from split name to an Arrow table with the string columns
`text`, `text_pair` and `label`; the last two are null where there is none. Labels
stay as written in the source here (dictionary-encoded where the source names its
classes, so that their order is kept); `text.labels` gives them numbers.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from pydantic import Field, model_validator

from pipeline.errors import DataError, first_line
from pipeline.settings import Section
from pipeline.text.docstrings import DEFAULT_LIBRARIES, read_docstrings
from pipeline.text.tokens import SPLITS

Corpus = dict[str, pa.Table]

_FILE_STEMS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


class ColumnSettings(Section):
    """Which columns of the source hold what."""

    text: str = "text"
    text_pair: str | None = None
    """The second text of a pair, or null for single texts."""
    label: str | None = "label"
    """null for a source without labels."""


class MaxRows(Section):
    """How many rows of each split to keep at most; null keeps all."""

    train: int | None = Field(default=None, ge=1)
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)


class DocstringSettings(Section):
    """The docstrings of installed libraries as a corpus."""

    libraries: tuple[str, ...] = Field(default=DEFAULT_LIBRARIES, min_length=2)
    """Import names; each is a label."""
    max_sentences: MaxRows = MaxRows()
    """They come mixed and balanced, so the first ones are kept."""


class DataSettings(Section):
    """The `data` section: where the texts are and how to read them."""

    source: Literal["docstrings", "files", "hub", "tokens"] = "docstrings"
    path: str = "data"
    """For `files`: a folder with train, validation and test files, or one file (all
    train); for `tokens`: a token table that somebody else prepared. DVC watches it whatever
    the source, so it must exist."""
    hub_id: str | None = None
    """For `hub`: the dataset, such as `nyu-mll/glue`; a config follows a colon,
    `nyu-mll/glue:sst2`."""
    docstrings: DocstringSettings = DocstringSettings()
    columns: ColumnSettings = ColumnSettings()
    labels: dict[str, str] | None = Field(default=None, min_length=2)
    """Label name by the value in the source; the order gives the label numbers. null
    takes the source's own names, or the distinct values of the training split."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of train set aside, by hash of the text, when there is no validation split."""
    max_rows: MaxRows = MaxRows()
    """A sample of every split, whatever the source."""

    @model_validator(mode="after")
    def _hub_needs_an_id(self) -> "DataSettings":
        if self.source == "hub" and self.hub_id is None:
            raise ValueError("source 'hub' needs data.hub_id, such as nyu-mll/glue:sst2")
        return self


def read_corpus(settings: DataSettings) -> Corpus:
    """Read every split that the source has, and set validation aside when it has none.

    Raises:
        DataError: nothing readable there, a missing column, or a row without text.
    """
    sources: dict[str, Callable[[DataSettings], Corpus]] = {
        "docstrings": _read_docstrings,
        "files": _read_files,
        "hub": _read_hub,
    }
    corpus = sources[settings.source](settings)
    if "train" not in corpus:
        raise DataError(f"{_describe(settings)} has no train split; it has {', '.join(corpus)}")
    for split, table in corpus.items():
        _check_texts(table, f"{_describe(settings)}, {split}", settings.columns)
    if "validation" not in corpus:
        corpus["train"], corpus["validation"] = _set_aside(
            corpus["train"], settings.validation_share
        )
        if not len(corpus["train"]) or not len(corpus["validation"]):
            raise DataError(
                f"{_describe(settings)} has too few rows to set aside "
                f"{settings.validation_share:.0%} for validation. Add a validation file."
            )
    corpus = {split: corpus[split] for split in SPLITS if split in corpus}
    return {split: _limit(table, split, settings) for split, table in corpus.items()}


def _describe(settings: DataSettings) -> str:
    places = {"docstrings": "the docstrings", "files": settings.path, "hub": settings.hub_id}
    return str(places[settings.source])


def _read_docstrings(settings: DataSettings) -> Corpus:
    columns = ColumnSettings()
    return {
        split: _select(
            table.slice(0, getattr(settings.docstrings.max_sentences, split)),
            columns,
            "the docstrings",
            split,
        )
        for split, table in read_docstrings(settings.docstrings.libraries).items()
    }


def _read_files(settings: DataSettings) -> Corpus:
    place = Path(settings.path)
    if not place.exists():
        raise DataError(f"{place}: no such file or folder. Set data.path to your data.")
    files = find_splits(place) if place.is_dir() else {"train": place}
    return {
        split: _select(read_table(path), settings.columns, str(path), split)
        for split, path in files.items()
    }


def find_splits(folder: Path) -> dict[str, Path]:
    """Return the file of each split that a folder has, by the split's name.

    Raises:
        DataError: there is no training file, or there are two files for one split.
    """
    files: dict[str, Path] = {}
    for split, stems in _FILE_STEMS.items():
        names = [f"{stem}{suffix}" for stem in stems for suffix in _READERS]
        found = [folder / name for name in names if (folder / name).is_file()]
        if len(found) > 1:
            both = " and ".join(path.name for path in found)
            raise DataError(f"{folder} has {both} for the {split} split; keep one.")
        if found:
            files[split] = found[0]
    if "train" not in files:
        raise DataError(
            f"{folder} has no training file. Put train{'|'.join(_READERS)} there "
            "(and validation, test), or set data.path to another folder or a single file."
        )
    return files


def read_table(path: Path) -> pa.Table:
    """Read one CSV, TSV, JSON-lines or Parquet file.

    CSV follows the usual quoting rules; in TSV a quote is a character like any other,
    as in GLUE's files. Integer columns that a Parquet file marks as class labels come
    back as their names, and -1 there as null, the Hub's mark for an unlabelled row.

    Raises:
        DataError: unknown kind of file, or one that cannot be parsed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file; use {', '.join(_READERS)}")
    try:
        return reader(path)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()}: {reason}") from error


def _read_csv(path: Path) -> pa.Table:
    return _read_delimited(path, pyarrow.csv.ParseOptions(newlines_in_values=True))


def _read_tsv(path: Path) -> pa.Table:
    return _read_delimited(path, pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False))


def _read_delimited(path: Path, options: pyarrow.csv.ParseOptions) -> pa.Table:
    """Read every column as text: a label `01` is not `1`, and a text `1.50` not a number."""
    with pyarrow.csv.open_csv(path, parse_options=options) as reader:
        types = dict.fromkeys(reader.schema.names, pa.string())
    return pyarrow.csv.read_csv(
        path,
        parse_options=options,
        convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


def _read_jsonl(path: Path) -> pa.Table:
    table = pyarrow.json.read_json(path)
    # Text that looks like a time is parsed as one, unless the schema says that it is text.
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if not times:
        return table
    schema = pa.schema([(name, pa.string()) for name in times])
    return pyarrow.json.read_json(
        path, parse_options=pyarrow.json.ParseOptions(explicit_schema=schema)
    )


def _read_parquet(path: Path) -> pa.Table:
    from datasets import Features

    table = pyarrow.parquet.read_table(path)
    if table.schema.metadata and b"huggingface" in table.schema.metadata:
        return _name_classes(table, Features.from_arrow_schema(table.schema))
    return table


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _read_hub(settings: DataSettings) -> Corpus:
    from datasets import load_dataset

    assert settings.hub_id is not None
    name, _, config = settings.hub_id.partition(":")
    try:
        splits = load_dataset(name, config or None)
    except Exception as error:  # the library raises a dozen unrelated classes here
        reason = first_line(error)
        raise DataError(f"Hub dataset '{settings.hub_id}' cannot be loaded: {reason}") from error
    return {
        split: _select(
            _name_classes(dataset.data.table, dataset.features),
            settings.columns,
            settings.hub_id,
            split,
        )
        for split, dataset in splits.items()
        if split in SPLITS
    }


def _name_classes(table: pa.Table, features: Mapping[str, Any]) -> pa.Table:
    from datasets import ClassLabel

    for name, feature in features.items():
        if isinstance(feature, ClassLabel) and name in table.column_names:
            numbers = table[name].combine_chunks().cast(pa.int32())
            numbers = pc.if_else(pc.less(numbers, 0), None, numbers)
            named = pa.DictionaryArray.from_arrays(numbers, pa.array(feature.names))
            table = table.set_column(table.schema.get_field_index(name), name, named)
    return table


def _select(table: pa.Table, columns: ColumnSettings, place: str, split: str) -> pa.Table:
    """Return the named columns under our own names, as strings.

    Only a test split may lack the label column: its rows are unlabelled then.
    """
    selected = {}
    for ours in ("text", "text_pair", "label"):
        theirs = getattr(columns, ours)
        is_absent = theirs not in table.column_names
        if theirs is None or (is_absent and (ours, split) == ("label", "test")):
            selected[ours] = pa.nulls(len(table), pa.string())
        elif is_absent:
            raise DataError(
                f"{place} ({split}) has no column '{theirs}'; it has "
                f"{', '.join(table.column_names)}. Set data.columns.{ours}."
            )
        elif table.column_names.count(theirs) > 1:
            raise DataError(f"{place} ({split}) has several columns '{theirs}'; rename all but one")
        else:
            column = table[theirs]
            if ours != "label" or not _is_named(column):
                column = _as_strings(column, f"{place} ({split}), column '{theirs}'")
            if ours == "label" and not _is_named(column):
                column = pc.if_else(pc.equal(column, ""), None, column)
            selected[ours] = column
    return pa.table(selected)


def _is_named(column: pa.ChunkedArray) -> bool:
    """Say whether a column names its classes, in the order of their numbers."""
    return bool(pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type))


def _as_strings(column: pa.ChunkedArray, place: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        raise DataError(f"{place} holds {column.type}, not text or numbers") from None


def _set_aside(train: pa.Table, share: float) -> tuple[pa.Table, pa.Table]:
    """Split by hash of the text, so that a repeated text never is on both sides."""
    texts = zip(train["text"].to_pylist(), train["text_pair"].to_pylist(), strict=True)
    positions = np.array(
        [
            int.from_bytes(hashlib.blake2b(repr(text).encode(), digest_size=8).digest(), "little")
            for text in texts
        ],
        dtype=np.uint64,
    )
    is_validation = positions < np.uint64(share * 2**64)
    return train.filter(pa.array(~is_validation)), train.filter(pa.array(is_validation))


def _check_texts(table: pa.Table, place: str, columns: ColumnSettings) -> None:
    if len(table) == 0:
        raise DataError(f"{place} has no rows")
    for ours in ("text", "text_pair"):
        theirs = getattr(columns, ours)
        if theirs is None:
            continue
        is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(table[ours]), ""), True)
        n_blank = pc.sum(is_blank).as_py()
        if n_blank:
            raise DataError(
                f"{place}: {n_blank} of {len(table)} rows have no text in column '{theirs}' "
                f"(first: row {is_blank.index(True).as_py() + 1}). Remove them, or set "
                f"data.columns.{ours} to another column."
            )


def _limit(table: pa.Table, split: str, settings: DataSettings) -> pa.Table:
    n_rows = getattr(settings.max_rows, split)
    if n_rows is None or n_rows >= len(table):
        return table
    chosen = np.random.default_rng(0).choice(len(table), size=n_rows, replace=False)
    return table.take(pa.array(np.sort(chosen)))
