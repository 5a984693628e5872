"""A corpus of files that a test writes."""

from pathlib import Path
from typing import Any

from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.corpus import Corpus, DataSettings, read_corpus

CSV = "text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(40))


def settings_of(path: Path, **options: Any) -> DataSettings:
    """Return the settings that read files from `path`."""
    return DataSettings.model_validate({"source": "files", "path": str(path), **options})


def read(folder: Path, files: dict[str, str], **options: Any) -> Corpus:
    """Write files, read the folder, and return its splits."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return read_corpus(settings_of(folder, **options), CLASSIFICATION.read)


def column(corpus: Corpus, split: str, name: str) -> list[str | None]:
    """Return one column of a split."""
    values: list[str | None] = corpus[split][name].to_pylist()
    return values
