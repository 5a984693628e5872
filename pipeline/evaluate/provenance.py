"""Where a student's numbers come from: data, teacher, store, and the libraries at work."""

import platform
from importlib.metadata import version
from typing import Any

from pipeline.core.fingerprint import digest_json
from pipeline.store.manifest import Manifest
from pipeline.text.tokens import Tokens

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow", "zarr", "scikit-learn")


def provenance(tokens: Tokens, manifest: Manifest) -> dict[str, Any]:
    """Return what `provenance.json` has: digests that name exactly what was used.

    `manifest` is that of the store, or as much of it as the evaluation reads.
    """
    identity = manifest.identity
    teacher = manifest.teacher
    segments = manifest.segments
    arrays = {
        name: {
            "encoding": segments[0].arrays[name].encoding,
            "size_bytes": sum(segment.arrays[name].chunk.size_bytes for segment in segments),
        }
        for name in sorted(manifest.array_names())
    }
    return {
        "data": {
            "digest": tokens.digest,
            "rows": {name: len(split) for name, split in tokens.splits.items()},
            "unlabelled": {
                name: int((~split.has_label).sum()) for name, split in tokens.splits.items()
            },
            "max_length": tokens.max_length,
            "tokenizer": tokens.tokenizer,
        },
        "teacher": {
            "architecture": teacher.model_type,
            "n_layers": teacher.n_layers,
            "hidden_size": teacher.hidden_size,
            "weights": identity.weights,
            "config": identity.config,
        },
        "store": {
            "identity": digest_json(identity.model_dump(mode="json")),
            "digest": digest_json(manifest.model_dump(mode="json", exclude={"versions"})),
            "n_rows": sum(segment.n_rows for segment in segments),
            "precision": identity.precision,
            "arrays": arrays,
            "versions": dict(sorted(manifest.versions.items())),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
