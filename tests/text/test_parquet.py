"""Parquet files: class names of any metadata, and types that are no text."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.core.errors import DataError
from pipeline.text.files import read_table
from pipeline.text.source import Source

CLASSES = {"names": ["neg", "pos"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}
NUMBER = {"dtype": "int64", "_type": "Value"}
NUMBERS = [1, 0, -1]
NAMES = ["pos", "neg", None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that a test writes."""
    return tmp_path / "train.parquet"


def write(path: Path, columns: dict[str, Any], metadata: Any = None) -> Path:
    """Write a file with what `datasets` leaves in it: features, or a text as it is."""
    table = pa.table(columns)
    if metadata is not None:
        if not isinstance(metadata, str):
            metadata = json.dumps({"info": {"features": metadata}})
        table = table.replace_schema_metadata({"huggingface": metadata})
    pyarrow.parquet.write_table(table, path)
    return path


def source(path: Path) -> Source:
    """Return a file as `prepare` asks for its columns."""
    return Source(read_table(path), path.name)


@pytest.mark.parametrize(
    "unknown",
    [
        {"_type": "NewFeature", "settings": {"a": 1}},
        {"feature": {"_type": "NewFeature"}, "_type": "List"},
        {"feature": TEXT, "_type": "Bag"},
        [],
        None,
        "text",
    ],
)
def test_a_feature_that_is_not_known_does_no_harm(path: Path, unknown: Any) -> None:
    """Catches a file refused for a column that nothing reads, or class names that are lost."""
    columns = {"text": ["a", "b", "c"], "label": NUMBERS, "extra": [[1], [2], []]}
    write(path, columns, {"text": TEXT, "label": CLASSES, "extra": unknown})
    assert source(path).column("label", "label").to_pylist() == NAMES
    assert source(path).strings("text", "text").to_pylist() == ["a", "b", "c"]
    with pytest.raises(DataError) as caught:
        source(path).column("label", "extra")
    assert str(caught.value).startswith(f"{path}: column 'extra' holds whole numbers, and what")
    assert "Write the table without this metadata, and labels as names." in str(caught.value)


def test_text_is_read_whatever_its_feature(path: Path) -> None:
    """Catches a column of strings refused, of which Parquet says enough."""
    write(path, {"text": ["a"], "label": ["x"]}, {"text": {"_type": "New"}, "label": CLASSES})
    assert source(path).strings("text", "text").to_pylist() == ["a"]
    assert source(path).strings("label", "label").to_pylist() == ["x"]


@pytest.mark.parametrize(
    "metadata", ["{", "[]", '"a"', '{"info": []}', '{"info": {"features": 1}}']
)
def test_broken_metadata_matters_to_whole_numbers_alone(path: Path, metadata: str) -> None:
    """Catches numbers of classes as labels, and a file refused whose labels are names."""
    write(path, {"text": ["a", "b", "c"], "label": NUMBERS, "score": [0.5, 1.0, 2.0]}, metadata)
    assert source(path).strings("text", "text").to_pylist() == ["a", "b", "c"]
    assert source(path).column("label", "score").to_pylist() == [0.5, 1.0, 2.0]
    assert source(path).has("label")
    with pytest.raises(DataError, match=r"'label' holds whole numbers, and .* cannot be read, so"):
        source(path).column("label", "label")


@pytest.mark.parametrize("metadata", ["{}", '{"info": {}}', '{"info": {"features": null}}', {}])
def test_metadata_without_features_leaves_numbers(path: Path, metadata: Any) -> None:
    """Catches plain numbers refused where no features are given."""
    write(path, {"label": NUMBERS}, metadata)
    assert source(path).strings("label", "label").to_pylist() == ["1", "0", "-1"]


@pytest.mark.parametrize(
    ("values", "kind", "feature", "part", "expected"),
    [
        (NUMBERS, pa.int64(), CLASSES, "", NAMES),
        (NUMBERS, pa.int8(), CLASSES, "", NAMES),
        ([1.0, 0.0, float("nan")], pa.float64(), CLASSES, "", NAMES),
        ([[1, -1], None, []], pa.list_(pa.int64()), [CLASSES], "", [["pos", None], None, []]),
        (
            [[1, 0], [0, 0], None],
            pa.list_(pa.int64(), 2),
            {"feature": CLASSES, "length": 2, "_type": "Sequence"},
            "",
            [["pos", "neg"], ["neg", "neg"], None],
        ),
        (
            [[[1]], [[], [0]], [None]],
            pa.large_list(pa.list_(pa.int64())),
            {"feature": {"feature": CLASSES, "_type": "List"}, "_type": "LargeList"},
            "",
            [[["pos"]], [[], ["neg"]], [None]],
        ),
        (
            [{"y": 1, "n": 3}, None, {"y": -1, "n": 4}],
            pa.struct({"y": pa.int64(), "n": pa.int64()}),
            {"y": CLASSES, "n": NUMBER},
            ".y",
            ["pos", None, None],
        ),
        (
            [{"y": [1, 0]}, {"y": []}, {"y": [-1]}],
            pa.struct({"y": pa.list_(pa.int64())}),
            {"feature": {"y": CLASSES}, "_type": "Sequence"},
            ".y",
            [["pos", "neg"], [], [None]],
        ),
    ],
)
def test_classes_are_named_wherever_they_are(
    path: Path, values: list[Any], kind: pa.DataType, feature: Any, part: str, expected: list[Any]
) -> None:
    """Catches numbers in the place of names in lists and parts, and -1 as a class of its own."""
    write(path, {"a": pa.array(values, kind)}, {"a": feature})
    assert source(path).column("label", f"a{part}").to_pylist() == expected


def test_parts_beside_a_class_stay(path: Path) -> None:
    """Catches a row without a value that gets one, and parts that are mixed up."""
    rows = [{"y": 1, "n": 3, "t": "a"}, None, {"y": None, "n": None, "t": "b"}]
    write(path, {"a": rows}, {"a": {"y": CLASSES, "n": NUMBER, "t": TEXT}})
    expected = [{"y": "pos", "n": 3, "t": "a"}, *rows[1:]]
    assert read_table(path)["a"].to_pylist() == expected


def test_features_of_the_library_are_understood(path: Path) -> None:
    """Catches metadata that `datasets` writes in another way than these tests do."""
    label = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(
        {"a": label, "b": datasets.List(label), "c": {"d": label}, "e": datasets.Value("int64")}
    )
    rows = {"a": [1, -1], "b": [[0], []], "c": [{"d": 1}, {"d": 0}], "e": [1, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    found = source(path)
    assert found.column("label", "a").to_pylist() == ["pos", None]
    assert found.column("label", "b").to_pylist() == [["neg"], []]
    assert found.column("label", "c.d").to_pylist() == ["pos", "neg"]
    assert found.column("label", "e").to_pylist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "feature", "message"),
    [
        ([0, 2], CLASSES, "has the class number 2 in row 2, but names 2 classes, from 0: 'neg'"),
        ([[0], [1, 7]], [CLASSES], "has the class number 7 in row 2, but names 2 classes"),
        ([0.0, 0.5], CLASSES, "has the class number 0.5 in row 2"),
        ([0, 1], {"_type": "ClassLabel"}, "holds numbers of classes without their names"),
        ([0, 1], {"names": [1], "_type": "ClassLabel"}, "holds numbers of classes without"),
    ],
)
def test_numbers_without_a_name_are_refused(
    path: Path, values: list[Any], feature: Any, message: str
) -> None:
    """Catches a traceback, and a row that loses its label."""
    write(path, {"a": values, "text": ["a", "b"]}, {"a": feature})
    with pytest.raises(DataError) as caught:
        source(path).column("label", "a")
    assert f"{path}: column 'a' {message}" in str(caught.value)
    assert source(path).strings("text", "text").to_pylist() == ["a", "b"]


DAY = datetime.datetime(2021, 1, 10)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([DAY], "timestamp[us]"),
        ([DAY.date()], "date32[day]"),
        ([DAY.time()], "time64[us]"),
        ([DAY - DAY], "duration[us]"),
        (pa.array([DAY]).dictionary_encode(), "timestamp[us]"),
        ([b"\xff"], "binary"),
        ([{"a": 1}], "struct<a: int64>"),
    ],
)
def test_what_is_no_text_is_refused(path: Path, values: Any, kind: str) -> None:
    """Catches texts such as `2021-01-10 00:00:00` that the file's writer never saw."""
    write(path, {"a": values, "b": pa.StructArray.from_arrays([pa.array(values)], ["c"])})
    for name in ("a", "b.c"):
        with pytest.raises(DataError) as caught:
            source(path).strings("text", name)
        held = str(caught.value).split(f"column '{name}' holds ")[1].split(", not text or")[0]
        assert kind in held
        assert ", not text or numbers. Write what it should say as text" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([decimal.Decimal("1.50")], ["1.50"]),
        (pa.array(["x"]).dictionary_encode(), ["x"]),
        (pa.array([7]).dictionary_encode(), ["7"]),
        (pa.array(["x"], pa.large_string()), ["x"]),
        (pa.array(["x"], pa.string_view()), ["x"]),
        (pa.array(["né".encode()]), ["né"]),
        ([1.5, float("nan")], ["1.5", None]),
        ([True], ["true"]),
        (pa.nulls(1), [None]),
    ],
)
def test_texts_and_numbers_of_any_type_are_read(path: Path, values: Any, expected: Any) -> None:
    """Catches a good file refused for the way in which it stores its texts."""
    assert source(write(path, {"a": values})).strings("text", "a").to_pylist() == expected


def test_lists_of_times_are_no_words(path: Path) -> None:
    """Catches words made of times, and beside them lists of numbers refused."""
    write(path, {"a": [[DAY]], "b": [[1, 2]]})
    with pytest.raises(DataError, match=r"'a' holds lists of timestamp\[us\], not of words\. Wri"):
        source(path).lists("text", "a", "words")
    assert source(path).lists("text", "b", "words").to_pylist() == [["1", "2"]]


def test_the_folder_says_nothing(tmp_path: Path) -> None:
    """Catches a column that is made of a folder's name, as of `language=en`."""
    folder = tmp_path / "language=en"
    folder.mkdir()
    assert read_table(write(folder / "train.parquet", {"text": ["a"]})).column_names == ["text"]


def test_names_in_messages_show_blanks(path: Path) -> None:
    """Catches `it has text , label`, in which nobody sees why `text` is missing."""
    write(path, {"text ": ["a"], "pair": [{"en ": "a"}]})
    for column, message in {
        "text": r"has no column 'text'; it has 'text ', 'pair'\. Set data\.columns\.text\.",
        "pair.en": r"has no column 'pair\.en': 'pair' has the parts 'en '\.",
        "pair.en .x": r"has no column 'pair\.en \.x': 'pair\.en ' holds string\.",
    }.items():
        with pytest.raises(DataError, match=message):
            source(path).column("text", column)
    assert source(path).column("text", "pair.en ").to_pylist() == ["a"]
    many = write(path, {f"c{number}": [1] for number in range(25)})
    with pytest.raises(DataError, match=r"'c19' and 5 more\. Set data"):
        source(many).column("text", "x")
