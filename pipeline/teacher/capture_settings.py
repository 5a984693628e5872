"""The `capture` section: which signals of the teacher are kept, and how."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Section
from pipeline.store.spec import ArraySpec, Encoding

AskedPrecision = Literal["auto", "float32", "bfloat16", "float16"]


class LogitsSettings(Section):
    """The task head's pre-softmax outputs."""

    encoding: Encoding = "float32"


class ClsSettings(Section):
    """The [CLS] state of every layer, the embedding output included."""

    encoding: Encoding = "float16"


class AttentionSettings(Section):
    """The attention probabilities of every head."""

    layers: tuple[int, ...] = Field(min_length=1)
    """Teacher layers, 1 to their number."""
    encoding: Encoding = "float16"


class SignalSettings(Section):
    """Which signals are captured; logits always are."""

    logits: LogitsSettings = LogitsSettings()
    cls: ClsSettings | None = ClsSettings()
    attentions: AttentionSettings | None = None

    def arrays(self) -> dict[ArraySpec, Encoding]:
        """Return the arrays that these settings ask for."""
        arrays: dict[ArraySpec, Encoding] = {ArraySpec("logits"): self.logits.encoding}
        if self.cls is not None:
            arrays[ArraySpec("cls")] = self.cls.encoding
        if self.attentions is not None:
            for layer in sorted(set(self.attentions.layers)):
                arrays[ArraySpec("attentions", layer)] = self.attentions.encoding
        return arrays


class CaptureSettings(Section):
    """The `capture` section."""

    signals: SignalSettings = SignalSettings()
    precision: AskedPrecision = "auto"
    """Number format of the teacher's matrix products. `auto` is an existing store's; for
    a new one bfloat16 on CUDA, float32 on a CPU."""
    segment_rows: int | None = Field(default=None, ge=1)
    """Rows of a segment; null makes its largest array about 128 MiB. Fixed at first capture."""
    warm_start: bool = True
    """Keep the teacher's weights in the store, so that students can start from them."""
