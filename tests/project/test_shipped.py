"""Presets and recipes as files that come with the package."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import SettingsError
from pipeline.project.presets import PRESETS, find_preset
from pipeline.project.recipes import RECIPES, find_recipe
from pipeline.project.shipped import Shipped
from tests.imports import ROOT


@pytest.mark.parametrize(("folder", "names"), [(PRESETS, "**/*.yaml"), (RECIPES, "*.yaml")])
def test_a_wheel_carries_them_beside_the_package(folder: Path, names: str) -> None:
    """Catches a folder that is in the checkout alone, so that an installed command has none."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert folder.parent == ROOT and sorted(folder.glob(names))
    assert folder.name in setuptools["packages"]["find"]["include"]
    assert setuptools["package-data"][folder.name] == [names]


@pytest.mark.parametrize(
    ("find", "name", "fault"),
    [
        (find_preset, "glue/sst", "preset 'glue/sst' does not exist; did you mean 'glue/sst2'?"),
        (find_preset, "x", "preset 'x' does not exist; known: conll2003, glue/"),
        (find_recipe, "tinybrt", "recipe 'tinybrt' does not exist; did you mean 'tinybert'?"),
        (find_recipe, "x", "recipe 'x' does not exist; known: adversarial, "),
    ],
)
def test_an_unknown_name_has_a_near_match(
    find: Callable[[str], Shipped], name: str, fault: str
) -> None:
    """Catches a misspelt name that leaves the user to guess."""
    with pytest.raises(SettingsError) as caught:
        find(name)
    (said,) = caught.value.faults
    assert said.startswith(fault)
