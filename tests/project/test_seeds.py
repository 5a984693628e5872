"""Seeds as students: they differ in nothing else, and take nothing out of params.yaml."""

from pathlib import Path

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params
from pipeline.project.check import check_params
from pipeline.project.recipes import add_seeds
from tests.added_lines import added_lines
from tests.imports import ROOT
from tests.stages.conftest import invoke

SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", parse_params(SHIPPED)["students"])
def test_they_differ_in_the_seed_alone(name: str) -> None:
    """Catches a lost setting, by which a spread would not be chance alone, and a lost comment."""
    changed, added = add_seeds(SHIPPED, name, [1, 7])
    assert added == [f"{name}-seed1", f"{name}-seed7"]
    assert added_lines(SHIPPED, changed)
    check_params(parse_params(changed))
    students = parse_params(changed)["students"]
    assert list(students) == [*parse_params(SHIPPED)["students"], *added]
    for seed in (1, 7):
        training = {**students[name].get("training", {}), "seed": seed}
        assert students[f"{name}-seed{seed}"] == {**students[name], "training": training}


def test_a_students_own_training_stays() -> None:
    """Catches a seed that takes the place of a student's own epochs and schedule."""
    text = (
        "students:\n"
        "    one: # the only one\n"
        "        model: {n_layers: 2}\n"
        "        objectives:\n"
        "            cls: {layer_map: [[1, 3], [2, 6]], weight: {start: 1.0, end: 0.0}}\n"
        "        training: {epochs: 4, seed: 3} # longer\n"
        "\n"
        "# How.\n"
        "training: {learning_rate: 1.0e-4}\n"
    )
    changed, added = add_seeds(text, "one", [4])
    students = parse_params(changed)["students"]
    assert students[added[0]]["training"] == {"epochs": 4, "seed": 4}
    assert students[added[0]]["objectives"] == students["one"]["objectives"]
    assert "\n    one-seed4:\n" in changed and changed.endswith(text[text.index("\n# How") :])
    assert len(added_lines(text, changed)) > 3


def test_seeds_that_are_there_are_left() -> None:
    """Catches a second call that fails, or adds a student twice."""
    once, _ = add_seeds(SHIPPED, "kd-3", [1, 1, 2])
    assert add_seeds(once, "kd-3", [2, 1]) == (once, [])
    twice, added = add_seeds(once, "kd-3", [1, 2, 3])
    assert added == ["kd-3-seed3"] and len(added_lines(once, twice)) > 3


def test_what_would_spoil_the_spread_is_refused() -> None:
    """Catches the same training counted twice, and a student that is none of this group."""
    with pytest.raises(SettingsError, match=r"students\.kd-3 has the seed 0 itself; leave it out"):
        add_seeds(SHIPPED, "kd-3", [0, 1])
    once, _ = add_seeds(SHIPPED, "kd-3", [1])
    other = once.replace("training: {seed: 1}", "training: {seed: 1, epochs: 2}")
    with pytest.raises(SettingsError, match=r"students\.kd-3-seed1 differs from students\.kd-3 in"):
        add_seeds(other, "kd-3", [1])
    with pytest.raises(SettingsError, match=r"no student 'kd3'; did you mean 'kd-3'\?"):
        add_seeds(SHIPPED, "kd3", [1])
    with pytest.raises(SettingsError, match="copy the student by hand"):
        add_seeds(
            "students: {one: {model: {n_layers: 1}, objectives: {hard_label: {}}}}\n", "one", [1]
        )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a command that says what it does not write, or writes what it refuses."""
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = invoke("seeds", "kd-3", "0")
    assert result.exit_code == 1 and "has the seed 0 itself" in result.stderr
    assert path.read_text(encoding="utf-8") == SHIPPED
    assert invoke("seeds", "kd-3").exit_code == 2
    result = invoke("seeds", "kd-3", "1", "2")
    assert result.exit_code == 0, result.output
    assert "params.yaml: students.kd-3-seed2: added" in result.stdout
    assert "kd-3-seed2" in parse_params(path.read_text(encoding="utf-8"))["students"]
    assert "there already" in invoke("seeds", "kd-3", "1").stdout
