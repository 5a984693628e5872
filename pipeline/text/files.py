"""Tables from files: CSV, TSV, JSON lines, Parquet, plain text and CoNLL's text format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from pipeline.core.errors import DataError
from pipeline.text.class_names import name_classes
from pipeline.text.conll import read_conll

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

    CSV follows the usual quoting rules; in TSV a quote is a character like any other,
    as in GLUE's files. Plain text has the column `text`, a row for each line that is not
    blank. Integer columns that a Parquet file marks as class labels come
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
    texts = {field.name: _without_times(field.type) for field in table.schema}
    schema = pa.schema([(name, texts[name]) for name in texts if texts[name] is not None])
    if not len(schema):
        return table
    return pyarrow.json.read_json(
        path, parse_options=pyarrow.json.ParseOptions(explicit_schema=schema)
    )


def _without_times(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a column is read with instead, or None to leave it as it is."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    inner = _without_times(kind.value_type) if pa.types.is_list(kind) else None
    return None if inner is None else pa.list_(inner)


def _read_txt(path: Path) -> pa.Table:
    lines = path.read_text(encoding="utf-8-sig").split("\n")  # other ends may stand within one
    texts = [text for line in lines if (text := line.rstrip("\r")).strip()]
    return pa.table({"text": pa.array(texts, pa.string())})


def _read_parquet(path: Path) -> pa.Table:
    from datasets import Features

    table = pyarrow.parquet.read_table(path)
    if table.schema.metadata and b"huggingface" in table.schema.metadata:
        return name_classes(table, Features.from_arrow_schema(table.schema))
    return table


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_txt,
    ".conll": read_conll,
}
