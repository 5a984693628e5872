"""Presets: well-known data sets as the sections `data` and `task` of params.yaml.

A preset is a file of the folder `presets/`, or of a folder in it (see
`pipeline.project.shipped`): a comment, the section `data` and the section `task`.

What a preset says takes the place of what stands in both sections, and what says how to read
other data goes. Rows to keep, the share for validation and everything outside of these sections
stay, and so do comments but those behind a value that is changed.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.settings import parse_params, parse_section
from pipeline.project.params_text import flow, with_value, without_value
from pipeline.project.shipped import BESIDE_PACKAGE, Shipped, find_shipped, read_shipped
from pipeline.tasks import TASKS
from pipeline.text.corpus import Corpus, DataSettings, read_corpus

PRESETS = BESIDE_PACKAGE / "presets"

_MOST_SHOWN = 9
_OF_FILES = ("columns", "labels")
_OF_OTHER_DATA = ("hub_id", "columns", "labels", "splits")
_OF_OTHER_TASKS = ("metrics", "masking")


@dataclass(frozen=True)
class Preset(Shipped):
    """One file of `presets/`."""

    @property
    def settings(self) -> dict[str, Any]:
        """The sections that it has, by name."""
        return parse_params(self.text, PRESETS / f"{self.name}.yaml")

    def data_settings(self, path: str) -> DataSettings:
        """The section `data`, for files of the data set in the place of the Hub's."""
        data = {
            key: self.settings["data"][key] for key in _OF_FILES if key in self.settings["data"]
        }
        return parse_section(DataSettings, {**data, "source": "files", "path": path}, "data")


def list_presets() -> list[Preset]:
    """Return all presets, by name."""
    return read_shipped(PRESETS, Preset)


def find_preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        SettingsError: there is none of this name; with the nearest one, or all names.
    """
    return find_shipped(list_presets(), name)


def check_files(preset: Preset, path: str) -> None:
    """Refuse files that are not those of the preset's data set.

    Raises:
        DataError: they cannot be read as the preset says, or have labels that it does not name.
    """
    settings = preset.data_settings(path)
    task, mapping = TASKS[preset.settings["task"]["kind"]], settings.names_by_value
    corpus = read_corpus(settings, task.read)
    check_labels(preset, corpus, path)
    task.encode(corpus, task.label_names(corpus, mapping), mapping)


def check_labels(preset: Preset, corpus: Corpus, place: str) -> None:
    """Refuse labels that a preset does not name, where it names any.

    Raises:
        DataError: with some of them, and how to begin with other data.
    """
    known = preset.data_settings(place).names_by_value
    if known is None:
        return
    unknown: set[str] = set()
    for table in corpus.values():
        labels = table["label"]
        values = pc.list_flatten(labels) if pa.types.is_list(labels.type) else labels
        unknown |= set(pc.unique(values.cast(pa.string())).drop_null().to_pylist()) - {*known}
    if unknown:
        named, task = preset.settings["data"]["labels"], preset.settings["task"]["kind"]
        shown = ", ".join(f"'{label}'" for label in sorted(unknown)[:_MOST_SHOWN])
        raise DataError(
            f"{place} has {len(unknown)} labels that preset '{preset.name}' does not name: "
            f"{shown}; it names {', '.join(named[:_MOST_SHOWN])}. This is another data set: make "
            f"a project for it with 'decant new DIR --task {task} --data {place}' and its columns."
        )


def apply_preset(text: str, preset: Preset, path: str | None) -> tuple[str, list[str]]:
    """Return the text of params.yaml with the preset's data and task, and what was changed.

    `text` is that of a params file without faults. `path` is a file, or a folder with files, of
    the data set, which is read in the place of the Hub's; its splits have the usual names.
    Whether the result has faults is left to the caller to check.

    Raises:
        SettingsError: the file is written so that its sections cannot be changed.
    """
    wanted = preset.settings
    if path is not None:
        wanted["data"] |= {"source": "files", "path": path}
        for key in ("hub_id", "splits"):
            wanted["data"].pop(key, None)
    changes = []
    try:
        for name, others in (("data", _OF_OTHER_DATA), ("task", _OF_OTHER_TASKS)):
            section = parse_params(text).get(name) or {}
            for key in [key for key in others if key in section and key not in wanted[name]]:
                text = without_value(text, (name, key))
                changes.append(f"{name}.{key}: taken out")
            for key, value in wanted[name].items():
                if key not in section or section[key] != value:
                    text = with_value(text, (name, key), value)
                    changes.append(f"{name}.{key}: {flow(value)}")
    except SettingsError as error:
        by_hand = f"write the lines of 'decant preset {preset.name}' by hand"
        raise SettingsError(*(f"{fault}; {by_hand}" for fault in error.faults)) from None
    return text, changes
