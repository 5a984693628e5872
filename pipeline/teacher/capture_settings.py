"""The `capture` section: which signals of the teacher are kept, and how."""

from typing import Literal

from pydantic import Field

from pipeline.architecture import Architecture
from pipeline.settings import Section
from pipeline.store.spec import CLS, Arrays, ArraySpec, Encoding, Heads, logits_array
from pipeline.tasks.task import Task

AskedPrecision = Literal["auto", "float32", "bfloat16", "float16"]


StateEncoding = Literal["float32", "float16", "bfloat16"]


class LogitsSettings(Section):
    """The task head's pre-softmax outputs."""

    encoding: StateEncoding = "float32"


class ClsSettings(Section):
    """The [CLS] state of every layer, the embedding output included."""

    encoding: StateEncoding = "float16"


class HiddenStateSettings(Section):
    """The states of all tokens."""

    layers: tuple[int, ...] = Field(min_length=1)
    """0 (the embedding output) to the teacher's number of layers."""
    encoding: StateEncoding = "float16"


class AttentionSettings(Section):
    """The attention probabilities."""

    layers: tuple[int, ...] = Field(min_length=1)
    """Teacher layers, 1 to their number."""
    heads: Heads = "all"
    """`mean` keeps one map a layer, averaged over the heads."""
    encoding: Encoding = "float16"
    """`uint8_cbrt` takes half the space of float16."""


class SignalSettings(Section):
    """Which signals are captured; logits always are."""

    logits: LogitsSettings = LogitsSettings()
    cls: ClsSettings | None = ClsSettings()
    hidden_states: HiddenStateSettings | None = None
    attentions: AttentionSettings | None = None

    def arrays(self, task: Task) -> Arrays:
        """Return the arrays that these settings ask for."""
        arrays: Arrays = {logits_array(task.predicts): self.logits.encoding}
        if self.cls is not None:
            arrays[CLS] = self.cls.encoding
        if self.hidden_states is not None:
            for layer in sorted(set(self.hidden_states.layers)):
                arrays[ArraySpec("hidden_states", layer)] = self.hidden_states.encoding
        if self.attentions is not None:
            for layer in sorted(set(self.attentions.layers)):
                array = ArraySpec("attentions", layer, self.attentions.heads)
                arrays[array] = self.attentions.encoding
        return arrays

    def layer_faults(self, task: Task, teacher: Architecture) -> list[str]:
        """Return a line for each layer that the teacher does not have."""
        return [
            f"capture.signals.{array.signal}.layers: layer {array.layer} does not exist, the "
            f"teacher has layers {array.first_layer} to {teacher.n_layers}"
            for array in self.arrays(task)
            if not array.exists_in(teacher)
        ]


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
