"""Raw text from wherever it lies, as one table per split.

A *corpus* is a mapping from split name to an Arrow table. `text` and `text_pair` are strings, the
second null where there is none. What `label` holds, and which further columns there are, is the
task's, which reads each split. Labels stay as written in the source here; the task numbers them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline.core.errors import DataError, first_line
from pipeline.core.fingerprint import digest_file, digest_folder, digest_json
from pipeline.core.settings import Section
from pipeline.text.class_names import name_classes
from pipeline.text.columns import ColumnSettings
from pipeline.text.docstrings import (
    DEFAULT_LIBRARIES,
    hide_labels,
    library_files,
    read_docstrings,
)
from pipeline.text.files import find_splits, read_table
from pipeline.text.source import Source
from pipeline.text.tokens import SPLITS

UNLABELLED_ROWS = "unlabelled"
"""What a source calls rows to train on without labels."""
_SOURCE_SPLITS = (*SPLITS, UNLABELLED_ROWS)

Corpus = dict[str, pa.Table]
Read = Callable[[Source, ColumnSettings, str], pa.Table]
"""Reads the columns of one split, whose name is the last argument: `Task.read`."""


class MaxRows(Section):
    """How many rows of each split to keep at most; null keeps all."""

    train: int | None = Field(default=None, ge=1)
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)
    unlabelled: int | None = Field(default=None, ge=1)


class SplitNames(Section):
    """What the source calls each split, where it is not our name; null leaves it out.

    Of files, the name without its ending.
    """

    train: str = "train"
    validation: str | None = None
    test: str | None = None
    unlabelled: str | None = None
    """Rows to train on without labels, behind those of train."""

    def given(self) -> dict[str, str | None]:
        """Return the splits of params.yaml with what it says of them."""
        return {
            split: getattr(self, split)
            for split in _SOURCE_SPLITS
            if split in self.model_fields_set
        }


class DocstringSettings(Section):
    """The docstrings of installed libraries as a corpus."""

    libraries: tuple[str, ...] = Field(default=DEFAULT_LIBRARIES, min_length=2)
    """Import names; each is a label."""
    max_sentences: MaxRows = MaxRows()
    """They come mixed and balanced, so the first ones are kept."""
    n_labelled: int | None = Field(default=None, ge=1)
    """Training sentences that keep their label, as many of each library as there are; the others
    are unlabelled. null: all keep it."""
    seed: int = Field(default=0, ge=0)
    """Which sentences those are."""

    @model_validator(mode="after")
    def _every_library_keeps_a_label(self) -> "DocstringSettings":
        if self.n_labelled is not None and self.n_labelled < len(self.libraries):
            raise ValueError(
                f"n_labelled must be at least {len(self.libraries)}, a sentence of each library, "
                f"got {self.n_labelled}"
            )
        return self


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
    labels: dict[str, str] | tuple[str, ...] | None = Field(default=None, min_length=2)
    """The labels' names in order of their numbers; the source has these names or these numbers.
    Or the name by the value in the source, where they differ otherwise. null takes the source's
    own names, or the distinct values of the training split."""
    splits: SplitNames = SplitNames()
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of train set aside, by hash of the text, when there is no validation split."""
    max_rows: MaxRows = MaxRows()
    """A sample of every split, whatever the source."""

    @property
    def names_by_value(self) -> dict[str, str] | None:
        """The label's name by its value in the source, as far as `labels` tells."""
        if not isinstance(self.labels, tuple):
            return self.labels
        numbers = {str(number): name for number, name in enumerate(self.labels)}
        return {name: name for name in self.labels} | numbers

    @model_validator(mode="after")
    def _names_are_no_numbers(self) -> "DataSettings":
        if isinstance(self.labels, tuple):
            taken = [name for name in self.labels if name.isdecimal()]
            if taken or len(set(self.labels)) < len(self.labels):
                raise ValueError(
                    "a list of labels needs names that differ and are no numbers; write a mapping "
                    f"from value to name instead, got {', '.join(self.labels)}"
                )
        return self

    @model_validator(mode="after")
    def _hub_needs_an_id(self) -> "DataSettings":
        if self.source == "hub" and self.hub_id is None:
            raise ValueError("source 'hub' needs data.hub_id, such as nyu-mll/glue:sst2")
        return self


def read_corpus(settings: DataSettings, read: Read) -> Corpus:
    """Read every split that the source has, and set validation aside when it has none.

    `read` returns the columns that the task needs, under our names.

    Raises:
        DataError: nothing readable there, a missing column, or a row without text or with
            something else than the task's labels need.
    """
    sources: dict[str, Callable[[DataSettings], dict[str, tuple[pa.Table, str]]]] = {
        "docstrings": _read_docstrings,
        "files": _read_files,
        "hub": _read_hub,
    }
    columns = ColumnSettings() if settings.source == "docstrings" else settings.columns
    without_labels = columns.model_copy(update={"label": None})
    corpus = {
        split: read(
            Source(table, f"{place} ({split})"),
            without_labels if split == UNLABELLED_ROWS else columns,
            split,
        )
        for split, (table, place) in sources[settings.source](settings).items()
    }
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
    corpus = {split: _limit(table, split, settings) for split, table in corpus.items()}
    if UNLABELLED_ROWS in corpus:
        corpus["train"] = _join(corpus["train"], corpus[UNLABELLED_ROWS])
    return {split: corpus[split] for split in SPLITS if split in corpus}


def digest_source(settings: DataSettings) -> str:
    """Return the digest of the data itself, as far as it lies on this machine.

    For files it covers every byte, for docstrings the names and sizes of the libraries' files. A
    dataset of the Hub has none: what was prepared of it stays until the settings change.
    """
    if settings.source == "hub":
        return ""
    if settings.source == "docstrings":
        return digest_json(library_files(settings.docstrings.libraries))
    place = Path(settings.path)
    return digest_json(digest_folder(place) if place.is_dir() else digest_file(place))


def _describe(settings: DataSettings) -> str:
    places = {"docstrings": "the docstrings", "files": settings.path, "hub": settings.hub_id}
    return str(places[settings.source])


def _read_docstrings(settings: DataSettings) -> dict[str, tuple[pa.Table, str]]:
    docstrings = settings.docstrings
    corpus = {
        split: table.slice(0, getattr(docstrings.max_sentences, split))
        for split, table in read_docstrings(docstrings.libraries).items()
    }
    if docstrings.n_labelled is not None:
        corpus["train"] = hide_labels(corpus["train"], docstrings.n_labelled, docstrings.seed)
    return {split: (table, "the docstrings") for split, table in corpus.items()}


def _read_files(settings: DataSettings) -> dict[str, tuple[pa.Table, str]]:
    place = Path(settings.path)
    if not place.exists():
        raise DataError(f"{place}: no such file or folder. Set data.path to your data.")
    given = settings.splits.given()
    files = find_splits(place, given) if place.is_dir() else {"train": place}
    return {split: (read_table(path), str(path)) for split, path in files.items()}


def _read_hub(settings: DataSettings) -> dict[str, tuple[pa.Table, str]]:
    from datasets import load_dataset

    assert settings.hub_id is not None
    name, _, config = settings.hub_id.partition(":")
    try:
        found = load_dataset(name, config or None)
    except Exception as error:  # the library raises a dozen unrelated classes here
        reason = first_line(error)
        raise DataError(f"Hub dataset '{settings.hub_id}' cannot be loaded: {reason}") from error
    given = settings.splits.given()
    absent = [theirs for theirs in given.values() if theirs is not None and theirs not in found]
    if absent:
        raise DataError(
            f"Hub dataset '{settings.hub_id}' has no split '{absent[0]}'; it has "
            f"{', '.join(found)}. Correct data.splits."
        )
    named = {split: given.get(split, split) for split in _SOURCE_SPLITS}
    tables = {split: found[theirs] for split, theirs in named.items() if theirs in found}
    place = settings.hub_id
    return {
        split: (name_classes(dataset.data.table, dataset.features.to_dict(), place), place)
        for split, dataset in tables.items()
    }


def _join(train: pa.Table, unlabelled: pa.Table) -> pa.Table:
    """Return the training rows with unlabelled ones behind them."""
    label = train["label"]
    nothing = pa.chunked_array([pa.nulls(len(unlabelled), label.type)])
    if pa.types.is_dictionary(label.type):  # all parts must name the same classes
        classes = label.combine_chunks().dictionary
        indices = pa.nulls(len(unlabelled), label.type.index_type)
        nothing = pa.chunked_array([pa.DictionaryArray.from_arrays(indices, classes)])
    column = unlabelled.schema.get_field_index("label")
    return pa.concat_tables([train, unlabelled.set_column(column, "label", nothing)])


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
