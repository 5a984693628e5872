"""Stores as somebody else could make them: altered, and with a manifest to go with it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Place = Sequence[str | int]


def read_content(folder: Path) -> dict[str, Any]:
    """Return what a store's manifest says, without its digest."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del content["digest"]
    return content


def write_sealed(folder: Path, content: dict[str, Any]) -> None:
    """Replace a store's manifest by any JSON, with a digest that holds."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    sealed = {**content, "digest": hashlib.sha256(canonical.encode()).hexdigest()}
    text = json.dumps(sealed, indent=1, sort_keys=True) + "\n"
    replace_file(folder / "manifest.json", text.encode())


def put(content: Any, place: Place, value: object) -> None:
    """Set the value at a place of a manifest."""
    for part in place[:-1]:
        content = content[part]
    content[place[-1]] = value


def alter(folder: Path, *changes: tuple[Place, object]) -> None:
    """Change what a store's manifest says, at these places."""
    content = read_content(folder)
    for place, value in changes:
        put(content, place, value)
    write_sealed(folder, content)


def replace_file(path: Path, data: bytes) -> None:
    """Put a new file in the place of one, which may be a hard link."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def replace_recorded(folder: Path, name: str, place: Place, data: bytes) -> None:
    """Replace a file, and its record at a place of the manifest."""
    replace_file(folder / name, data)
    record = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    alter(folder, (place, record))


def flip(path: Path, byte: int, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    replace_file(path, bytes(data))
