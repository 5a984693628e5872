"""Recipes as text: they fit the shipped params.yaml, and take nothing out of it."""

from pathlib import Path

import pytest
from click.testing import Result

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params
from pipeline.project.check import check_params
from pipeline.project.recipes import Recipe, apply_recipe, find_recipe, list_recipes
from tests.added_lines import added_lines
from tests.imports import ROOT
from tests.stages.conftest import invoke

SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
_LAYERS = "attentions: {layers: [2, 4, 6]", "attentions: {layers: [6]"
"""Of attention maps, what a recipe may make of the layers that are captured, and these."""
RECIPES = list_recipes()
NAMES = {
    "adversarial",
    "attention-hidden",
    "bilstm",
    "distilbert",
    "hinton-kd",
    "logit-match",
    "output-layer-copy",
    "pkd-last",
    "pkd-skip",
    "text-cnn",
    "tinybert",
}


def apply(text: str, name: str, student: str | None = None) -> tuple[str, list[str]]:
    recipe = find_recipe(name)
    return apply_recipe(text, recipe, student or recipe.student)


def test_every_method_has_its_recipe() -> None:
    """Catches a recipe that is not found where the code is installed, or lost its name."""
    assert {recipe.name for recipe in RECIPES} == NAMES
    assert all(recipe.student == recipe.name for recipe in RECIPES)
    for recipe in RECIPES:
        assert 20 < len(recipe.description) < 100, recipe.name
        assert "published" in recipe.text or "No paper" in recipe.text


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_it_fits_the_shipped_params(recipe: Recipe) -> None:
    """Catches a misspelt setting, a layer that is not captured, and a lost or moved line."""
    changed, _ = apply_recipe(SHIPPED, recipe, recipe.student)
    check_params(parse_params(changed))
    new = added_lines(SHIPPED, changed.replace(*_LAYERS))
    own = recipe.text.splitlines()
    assert [line for line in new if line not in own] == []
    assert new[-1].startswith("    ") and f"  {recipe.name}: #" in "\n".join(new)
    assert parse_params(changed)["students"][recipe.name] == recipe.settings
    assert list(parse_params(changed)) == list(parse_params(SHIPPED))


def test_all_fit_one_after_the_other() -> None:
    """Catches a recipe that takes back what another one needs."""
    text = SHIPPED
    for recipe in RECIPES:
        text, _ = apply_recipe(text, recipe, recipe.student)
    check_params(parse_params(text))
    students = [*parse_params(SHIPPED)["students"], *(recipe.name for recipe in RECIPES)]
    assert list(parse_params(text)["students"]) == students
    text = text.replace(*_LAYERS)
    added_lines(SHIPPED, text.replace("layers: [0, 2, 4, 6]", "layers: [6]"))


def test_signals_are_united() -> None:
    """Catches layers taken away, listed twice or out of order, and a changed encoding."""
    text = (
        "capture:\n"
        "  signals:\n"
        "    cls: # not yet\n"
        "    # Half of float16's space.\n"
        "    attentions: {layers: [3, 4], heads: all, encoding: uint8_cbrt} # two\n"
        "\n"
        "# Who learns.\n"
        "students:\n"
        "    one:\n"
        "        objectives: {hard_label: {}}\n"
    )
    changed, said = apply(text, "tinybert")
    assert parse_params(changed)["capture"]["signals"] == {
        "cls": None,
        "attentions": {"layers": [2, 3, 4, 6], "heads": "all", "encoding": "uint8_cbrt"},
        "hidden_states": {"layers": [0, 2, 4, 6], "encoding": "float16"},
    }
    assert said == [
        "students.tinybert: added",
        "capture.signals.hidden_states: added, {layers: [0, 2, 4, 6], encoding: float16}",
        "capture.signals.attentions.layers: added 2, 6",
    ]
    added_lines(text, changed.replace("layers: [2, 3, 4, 6]", "layers: [3, 4]"))
    assert "\n    tinybert: #" in changed  # in the column of the others
    _, said = apply(changed, "tinybert", "second")
    assert said == ["students.second: added"]
    changed, said = apply(text, "pkd-skip")
    assert parse_params(changed)["capture"]["signals"]["cls"] == {"encoding": "float16"}
    assert said[1:] == ["capture.signals.cls: added, {encoding: float16}"]


@pytest.mark.parametrize("before", ["", "capture:\n", "capture:\n  signals:\n"])
def test_signals_are_added_where_none_are_asked_for(before: str) -> None:
    """Catches a traceback, and [CLS] asked for that is captured anyway."""
    students = "students:\n  one:\n    objectives: {hard_label: {}}\n"
    changed, _ = apply(before + students, "distilbert")
    layers = {"layers": [6], "encoding": "float16"}
    assert parse_params(changed)["capture"] == {"signals": {"hidden_states": layers}}
    unchanged, said = apply(before + students, "pkd-last")
    assert unchanged.startswith(before + students)
    assert said == ["students.pkd-last: added"]


def test_students_in_one_line_are_left_alone() -> None:
    """Catches a file that is no YAML any more."""
    with pytest.raises(SettingsError, match="not written one below the other"):
        apply("students: {one: {objectives: {hard_label: {}}}}\n", "hinton-kd")
    with pytest.raises(SettingsError, match="add the lines of 'decant recipe hinton-kd' by hand"):
        apply("{students: {one: {objectives: {hard_label: {}}}}}\n", "hinton-kd")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params.yaml alone, which is the current folder."""
    (tmp_path / "params.yaml").write_text(SHIPPED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(result: Result, code: int) -> str:
    """Return what a command that failed says; params.yaml must be as it was."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def test_the_command_shows_and_lists(project: Path) -> None:
    """Catches a list that needs an option, and a recipe that is changed in printing."""
    for args in ((), ("--list",)):
        lines = invoke("recipe", *args).stdout.splitlines()
        assert [line.split()[0] for line in lines] == sorted(NAMES)
    assert invoke("recipe", "tinybert").stdout == find_recipe("tinybert").text
    assert (project / "params.yaml").read_text(encoding="utf-8") == SHIPPED


def test_the_command_applies_once(project: Path) -> None:
    """Catches a student that is overwritten, and a name of the user's that is not taken."""
    result = invoke("recipe", "distilbert", "--apply")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "params.yaml: students.distilbert: added",
        "params.yaml: capture.signals.hidden_states: added, {layers: [6], encoding: float16}",
        "'decant plan' says what is to be captured, 'dvc repro' captures and trains.",
    ]
    text = (project / "params.yaml").read_text(encoding="utf-8")
    assert "students.distilbert is there already; give another name with --as NAME" in refused(
        invoke("recipe", "distilbert", "--apply"), 1
    )
    assert (project / "params.yaml").read_text(encoding="utf-8") == text
    assert invoke("recipe", "distilbert", "--apply", "--as", "second").exit_code == 0
    students = parse_params((project / "params.yaml").read_text(encoding="utf-8"))["students"]
    assert students["second"] == students["distilbert"]
    assert list(project.iterdir()) == [project / "params.yaml"]


def test_nothing_is_captured_for_signals_that_are_there(project: Path) -> None:
    """Catches a capture that is announced for a recipe that reads what is captured anyway."""
    lines = invoke("recipe", "text-cnn", "--apply").stdout.splitlines()
    assert lines == [
        "params.yaml: students.text-cnn: added",
        "No further signal is to be captured; 'dvc repro' trains it.",
    ]


def test_nothing_is_written_where_the_result_has_faults(project: Path) -> None:
    """Catches a params.yaml that no stage accepts any more."""
    path = project / "params.yaml"
    assert "students.a b: a student's name is made of" in refused(
        invoke("recipe", "hinton-kd", "--apply", "--as", "a b"), 1
    )
    text = SHIPPED.replace("attentions: {layers: [6]", "attentions: {layers: [6, 9]")
    path.write_text(text, encoding="utf-8")
    assert "layer 9 does not exist" in refused(invoke("recipe", "hinton-kd", "--apply"), 1)
    assert path.read_text(encoding="utf-8") == text


def test_options_that_make_no_sense_are_refused(project: Path) -> None:
    """Catches an option that is dropped silently."""
    assert "--as names the student" in refused(invoke("recipe", "tinybert", "--as", "x"), 2)
    assert "give its NAME" in refused(invoke("recipe", "--apply"), 2)
