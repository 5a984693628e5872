"""The `generation` section: which texts the teacher writes itself, and how."""

from typing import Literal

from pydantic import Field

from pipeline.core.settings import Section


class GenerationSettings(Section):
    """Beam search over the rows of some splits; what is null is as the teacher's own says."""

    splits: tuple[Literal["train", "validation", "test"], ...] = ()
    """Splits that the teacher writes a text for each row of; none turns the stage off."""
    num_beams: int = Field(default=5, ge=1)
    """Texts that are kept while a text grows; 1 takes the likeliest piece each time."""
    length_penalty: float | None = None
    """The power of its length that a text's log probability is divided by."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest text in pieces, the end included; null is tokenizer.max_length."""
    batch_size: int = Field(default=32, ge=1)
    """Rows that are written for at once."""
