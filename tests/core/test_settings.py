"""Sections of params.yaml: every fault is named at once, and nothing is converted silently."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Section, parse_section, read_params, unknown_key


class Leaf(Section):
    """The innermost level."""

    rate: float = Field(default=0.5, gt=0)
    n_steps: int = 1
    is_on: bool = False
    name: str = "leaf"


class Branch(Section):
    """A level that may be absent, with all the ways to hold others."""

    leaf: Leaf = Leaf()
    spare: Leaf | None = None
    layers: tuple[int, ...] = ()
    kind: Literal["oak", "beech"] = "oak"


class Stem(Section):
    """Required keys, where a number would do as well."""

    start: float
    end: float = Field(ge=0)


class Root(Section):
    """A number or a section, as a weight that may change."""

    depth: float | Stem


class Tree(Section):
    """The outermost level."""

    branch: Branch = Branch()
    height: int = Field(default=1, ge=1)
    owner: str = "nobody"


def faults_of(value: Any) -> list[str]:
    """Return the lines with which `value` is refused as a tree."""
    with pytest.raises(SettingsError) as caught:
        parse_section(Tree, value, "tree")
    return list(caught.value.faults)


def read_text(tmp_path: Path, text: str) -> dict[str, Any]:
    """Return what a params file with this text holds."""
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return read_params(path)


def test_every_fault_is_reported_with_its_place() -> None:
    """Catches stopping at the first fault, a wrong place, or a near match of another level."""
    value = {
        "hight": 3,
        "height": 0,
        "owner": 7,
        "branch": {
            "laef": {},
            "kind": "elm",
            "layers": [1, "2"],
            "leaf": {"rat": 1.0, "rate": 0, "n_steps": 1.5},
            "spare": {"nmae": "x"},
        },
    }
    assert sorted(faults_of(value)) == [
        "tree.branch.kind: should be 'oak' or 'beech', got 'elm'",
        "tree.branch.laef: unknown key; did you mean 'leaf'?",
        "tree.branch.layers.1: should be a valid integer, got '2'",
        "tree.branch.leaf.n_steps: should be a valid integer, got 1.5",
        "tree.branch.leaf.rat: unknown key; did you mean 'rate'?",
        "tree.branch.leaf.rate: should be greater than 0, got 0",
        "tree.branch.spare.nmae: unknown key; did you mean 'name'?",
        "tree.height: should be greater than or equal to 1, got 0",
        "tree.hight: unknown key; did you mean 'height'?",
        "tree.owner: should be a valid string, got 7",
    ]


def test_a_key_like_no_other_lists_the_known_ones() -> None:
    """Catches a fault line that leaves the user guessing what keys there are."""
    assert faults_of({"branch": {"leaf": {"zzz": 1}}}) == [
        "tree.branch.leaf.zzz: unknown key; known keys: is_on, n_steps, name, rate"
    ]
    assert unknown_key("", "zzz", ["b", "a"]) == "zzz: unknown key; known keys: a, b"


def test_a_missing_value_says_so() -> None:
    """Catches a required key that is reported as a wrong value."""

    class Strict(Section):
        checkpoint: str

    with pytest.raises(SettingsError, match=r"^teacher\.checkpoint: missing; give it a value$"):
        parse_section(Strict, None, "teacher")


@pytest.mark.parametrize(
    ("depth", "faults"),
    [
        ({"start": 1, "end": -1}, ("depth.end: should be greater than or equal to 0, got -1",)),
        ({"start": 1}, ("depth.end: missing; give it a value",)),
        (
            {"strat": 1, "end": 1},
            (
                "depth.start: missing; give it a value",
                "depth.strat: unknown key; did you mean 'start'?",
            ),
        ),
        ("deep", ("depth: should be a valid number, got 'deep'",)),
    ],
)
def test_a_section_in_place_of_a_number_has_places_too(
    depth: object, faults: tuple[str, ...]
) -> None:
    """Catches the name of a class in the place of the key that is wrong or missing."""
    with pytest.raises(SettingsError) as caught:
        parse_section(Root, {"depth": depth}, "root")
    assert caught.value.faults == tuple(f"root.{fault}" for fault in faults)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("rate", "1e-4", "a valid number"),
        ("rate", True, "a valid number"),
        ("rate", float("nan"), "a finite number"),
        ("rate", float("inf"), "a finite number"),
        ("n_steps", "3", "a valid integer"),
        ("n_steps", True, "a valid integer"),
        ("is_on", 1, "a valid boolean"),
        ("is_on", "true", "a valid boolean"),
        ("name", 1, "a valid string"),
        ("name", None, "a valid string"),
    ],
)
def test_no_type_is_taken_for_another(key: str, value: object, wanted: str) -> None:
    """Catches a lax conversion: a quoted number, a yes for a 1, a null for a name."""
    assert faults_of({"branch": {"leaf": {key: value}}}) == [
        f"tree.branch.leaf.{key}: should be {wanted}, got {value!r}"
    ]


def test_a_list_becomes_a_tuple_and_a_whole_number_a_float() -> None:
    """Catches strictness that refuses what YAML can only write in one way."""
    tree = parse_section(Tree, {"branch": {"layers": [2, 4], "leaf": {"rate": 2}}}, "tree")
    assert tree.branch.layers == (2, 4)
    assert isinstance(tree.branch.leaf.rate, float)


def test_a_section_that_is_no_mapping_is_refused() -> None:
    """Catches a list or a number in place of a section ending in a traceback."""
    assert faults_of({"branch": [1]}) == ["tree.branch: should be an object, got [1]"]
    assert faults_of(3) == ["tree: should be an object, got 3"]


def test_a_key_that_is_no_text_ends_in_a_fault(tmp_path: Path) -> None:
    """Catches a traceback for a date or a list in the place of a key."""
    for text in ("tree: {2020-01-01: 1}", "tree: {[1, 2]: 1}"):
        with pytest.raises(SettingsError):
            parse_section(Tree, read_text(tmp_path, text)["tree"], "tree")


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    """Catches YAML 1.1: `1e-4` as a string, `on` as a boolean, `010` as eight."""
    params = read_text(tmp_path, "rate: 1e-4\nname: on\nn_steps: 010\nis_on: true\n")
    assert params == {"rate": 1e-4, "name": "on", "n_steps": 10, "is_on": True}
    assert parse_section(Leaf, params, "leaf").rate == 1e-4


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Catches a bare FileNotFoundError for a stage that runs in the wrong folder."""
    path = tmp_path / "params.yaml"
    with pytest.raises(SettingsError) as caught:
        read_params(path)
    assert str(caught.value) == f"{path}: no such file. Run from the project's folder."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [1, 2", "not valid YAML: .*line 1"),
        ("data: {}\ndata: {}", "not valid YAML: .*duplicate key"),
        ("", "expected sections at the top, found None"),
        ("- data", r"expected sections at the top, found \['data'\]"),
    ],
)
def test_what_is_no_mapping_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """Catches a parser's error or a list slipping through, and one section hiding another."""
    with pytest.raises(SettingsError, match=rf"params\.yaml: {message}") as caught:
        read_text(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Catches a traceback for a file that an editor saved as Latin-1."""
    path = tmp_path / "params.yaml"
    path.write_bytes("owner: Zoë".encode("latin-1"))
    with pytest.raises(SettingsError, match="UTF-8"):
        read_params(path)


def test_sections_cannot_be_changed() -> None:
    """Catches a setting that is altered after it was checked."""
    tree = parse_section(Tree, None, "tree")
    with pytest.raises(ValueError, match="frozen"):
        tree.height = 2  # type: ignore[misc]  # the fault that is tested for
