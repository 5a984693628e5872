"""Presets: well-known data sets as the sections `data` and `task` of params.yaml.

A preset is a file of the folder `presets/`, or of a folder in it (see
`pipeline.project.shipped`): a comment, the section `data` and the section `task`.

Applying one is a round trip of both sections: what the preset says takes the place of what
stands there, and what says how to read other data goes. Comments stay, and so do rows to
keep, the share for validation and everything outside of these sections.
"""

import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.settings import parse_params, parse_section
from pipeline.project.params_text import lines_of, round_trip
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
    if YAML().load(text).fa.flow_style():
        raise SettingsError(
            [
                "params.yaml: its sections are not written one below the other, so that none can "
                f"be changed; write the lines of 'decant preset {preset.name}' by hand"
            ]
        )
    asked = YAML().load(preset.text)
    if path is not None:
        asked["data"] |= {"source": "files", "path": path}
        for key in ("hub_id", "splits"):
            asked["data"].pop(key, None)
    changes = []
    for name, others in (("data", _OF_OTHER_DATA), ("task", _OF_OTHER_TASKS)):
        text, changed = _with_section(text, name, asked[name], others)
        changes += changed
    return text, changes


def _with_section(
    text: str, name: str, asked: CommentedMap, others: tuple[str, ...]
) -> tuple[str, list[str]]:
    """Return the text with the values of `asked` in a section, without `others` it has not."""
    yaml, lines = round_trip(), text.splitlines()
    params = yaml.load(text)
    start, stop = lines_of(params, name, len(lines)) if name in params else (len(lines),) * 2
    while stop > start and (not lines[stop - 1].strip() or lines[stop - 1].startswith("#")):
        stop -= 1  # what stands between this section and the next
    alone = yaml.load("\n".join(lines[start:stop])) or CommentedMap({name: None})
    if alone[name] is None:
        alone[name] = CommentedMap()
    section, changes = alone[name], []
    for key in [key for key in others if key in section and key not in asked]:
        del section[key]
        changes.append(f"{name}.{key}: taken out")
    for key, value in asked.items():
        if key not in section or section[key] != value:
            section[key] = value
            changes.append(f"{name}.{key}: {_flow(value)}")
    if not changes:
        return text, []
    yaml.map_indent = section.lc.col or None
    file = io.StringIO()
    yaml.dump(alone, file)
    lines[start:stop] = file.getvalue().splitlines()
    return "\n".join(lines) + "\n", changes


def _flow(value: Any) -> str:
    """Return a value in one line, as it may stand in params.yaml."""
    yaml = round_trip()
    yaml.default_flow_style = True
    file = io.StringIO()
    yaml.dump({"value": value}, file)
    return file.getvalue().strip().removeprefix("{value: ").removesuffix("}")
