"""What a model costs, in figures: `cost` times them, `work` counts them, the report shows them."""

from dataclasses import dataclass

BATCH_SIZE = 32
"""Examples in a batch when throughput is timed."""


@dataclass(frozen=True)
class Cost:
    """What one model costs, from one run of `measure_costs`."""

    n_parameters: int
    """Trainable or not; a tensor that two modules share counts once. Embeddings are included."""

    size_bytes: int
    """Weights as saved to safetensors, without that file's header of some kilobytes."""

    latency_ms: float
    """Milliseconds for one example in a batch of its own, without padding; a median."""

    throughput_per_second: float
    """Examples a second in batches of 32, each padded to its longest example; a median."""


@dataclass(frozen=True)
class Work:
    """What one model needs for its forward, from one run of `count_work`."""

    flops: int
    """Of one example on its own; a multiplication and an addition are two operations."""

    n_tokens: int
    """Length of that example: the median of those that were given."""

    peak_memory_bytes: int
    """Weights and whatever tensors are alive at the fullest moment of a batch."""

    n_batch_tokens: int
    """Length of each of the 32 examples of that batch: the longest of those that were given."""
