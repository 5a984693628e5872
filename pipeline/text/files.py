"""Tables from files: CSV, TSV, JSON lines, Parquet, plain text and CoNLL's text format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet

from pipeline.core.errors import DataError
from pipeline.text.class_names import name_stored_classes
from pipeline.text.conll import read_conll
from pipeline.text.delimited import read_csv, read_tsv
from pipeline.text.json_lines import read_json_lines
from pipeline.text.lines import read_lines

_FILE_STEMS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled"),
}


def find_splits(
    folder: Path, given: Mapping[str, str | None] = MappingProxyType({})
) -> dict[str, Path]:
    """Return the file of each split that a folder has, by the split's name.

    `given` is a file's name without its ending, by split, in place of the usual names; None
    leaves a split out.

    Raises:
        DataError: there is no training file, or there are two files for one split.
    """
    files: dict[str, Path] = {}
    for split, usual in _FILE_STEMS.items():
        stem = given.get(split)
        stems = usual if split not in given else () if stem is None else (stem,)
        names = [f"{stem}{suffix}" for stem in stems for suffix in _READERS]
        found = [folder / name for name in names if (folder / name).is_file()]
        if len(found) > 1:
            both = " and ".join(path.name for path in found)
            raise DataError(f"{folder} has {both} for the {split} split; keep one.")
        if found:
            files[split] = found[0]
        elif stem is not None:
            raise DataError(
                f"{folder} has no file {stem}{'|'.join(_READERS)}, which data.splits.{split} "
                "names. Correct it there."
            )
    if "train" not in files:
        raise DataError(
            f"{folder} has no training file. Put train{'|'.join(_READERS)} there (and "
            "validation, test, unlabelled), or set data.path to another folder or a single file."
        )
    return files


def read_table(path: Path) -> pa.Table:
    """Read one CSV, TSV, JSON-lines, Parquet, plain text or CoNLL file.

    `text.lines` says in which encodings text may be. Plain text has the column `text`, a row for
    each line that is not blank. Integer columns that a Parquet file marks as class labels come back
    as their names, and -1 there as null, the Hub's mark for an unlabelled row. Columns that cannot
    be used are faults (`text.faults`).

    Raises:
        DataError: unknown kind of file, or one that cannot be parsed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file; use {', '.join(_READERS)}")
    return reader(path)


def _read_txt(path: Path) -> pa.Table:
    texts = [text for line in read_lines(path) if (text := line.rstrip("\r\n")).strip()]
    return pa.table({"text": pa.array(texts, pa.string())})


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:  # read_table adds columns for folders
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as PARQUET: {reason}") from error
    return name_stored_classes(table, str(path))


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json_lines,
    ".parquet": _read_parquet,
    ".txt": _read_txt,
    ".conll": read_conll,
}
