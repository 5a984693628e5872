"""How many word pieces of a masked LM are hidden: the part `masking` of the section `task`."""

from pydantic import Field

from pipeline.core.settings import Section


class MaskingSettings(Section):
    """Which word pieces are asked for, drawn once, when the texts become tokens."""

    probability: float = Field(default=0.15, gt=0, le=1)
    """Of each word piece that may be masked; a row that has one has one masked at least."""
    whole_words: bool = False
    """Whether the pieces of a word are masked all or none, as the tokenizer tells words."""
    seed: int = Field(default=0, ge=0)
