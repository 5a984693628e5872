"""What objectives there are, by the name they have in params.yaml, and their settings.

Everything here can be read and checked without torch; the losses themselves stand in files of
their own, which also say what the settings mean, and are imported when they are built.
"""

from abc import ABC
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.core.errors import SettingsError
from pipeline.objectives.layer_map import FixedLayerMap, LayerMap, LayerPair, resolve
from pipeline.objectives.linear import LinearTemperature, value_at
from pipeline.objectives.models import Models
from pipeline.objectives.needs import MapSignal, Needs, ObjectiveSettings, StateSignal
from pipeline.store.spec import CLS, CLS_MOMENTS, LOGITS, ArraySpec, Heads

if TYPE_CHECKING:
    from pipeline.objectives.objective import Objective


class HardLabelSettings(ObjectiveSettings):
    """Settings of `hard_label`."""

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.hard_label import HardLabel

        return HardLabel()


class SoftTargetSettings(ObjectiveSettings):
    """Settings of `soft_target`."""

    temperature: Annotated[float, Field(gt=0)] | LinearTemperature = 4.0
    """Divides both models' logits; higher shows more of the small probabilities."""
    distance: Literal["kl", "l1", "l2"] = "kl"
    direction: Literal["forward", "reverse", "jensen_shannon"] = "forward"
    """Of `kl` only."""
    other_teachers: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Share of the average that each other teacher has, by the folder of its store; the
    student's own teacher has the rest."""

    accept_top_k_bias: bool = False
    """Where word pieces are predicted, allow a temperature other than 1: all pieces that are not
    stored are softened as one, and so get less of the teacher's probability than they should."""

    @field_validator("other_teachers")
    @classmethod
    def _leave_a_share(cls, shares: dict[str, float]) -> dict[str, float]:
        if sum(shares.values()) >= 1:
            raise ValueError(
                f"the shares add up to {sum(shares.values()):g}; leave some of 1 to the "
                "student's own teacher"
            )
        return shares

    @model_validator(mode="after")
    def _has_a_direction(self) -> Self:
        if self.distance != "kl" and "direction" in self.model_fields_set:
            raise ValueError(f"distance {self.distance} has no direction; take direction out")
        return self

    def needs(self, models: Models) -> Needs:
        """Return that the teachers' logits are read."""
        models.require_classes()
        if models.task.predicts == "piece":
            self._check_pieces()
        return Needs(teacher=models.logits, other_stores=frozenset(self.other_teachers))

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.soft_target import SoftTarget

        return SoftTarget(self)

    def _check_pieces(self) -> None:
        """Refuse what a teacher's few stored pieces do not give.

        Raises:
            SettingsError: a temperature whose bias is not accepted, or other teachers.
        """
        if self.other_teachers:
            raise SettingsError(
                [
                    "other_teachers: stores of word pieces cannot be averaged, for each has its "
                    "own teacher's likeliest pieces. Take other_teachers out"
                ]
            )
        ends = {value_at(self.temperature, progress) for progress in (0.0, 1.0)}
        if ends != {1.0} and not self.accept_top_k_bias:
            raise SettingsError(
                [
                    f"temperature: the store has a teacher's likeliest pieces and what all others "
                    f"have together, which at temperature {max(ends):g} is no longer what they "
                    "would have. Set temperature: 1, or accept_top_k_bias: true"
                ]
            )


class LogitMatchSettings(ObjectiveSettings):
    """Settings of `logit_match`."""

    def needs(self, models: Models) -> Needs:
        """Return that the teacher's logits are read."""
        return Needs(teacher=models.logits)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.logit_match import LogitMatch

        return LogitMatch()


class ClsObjectiveSettings(ObjectiveSettings):
    """Settings of `cls`."""

    layer_map: LayerMap = "skip"
    normalise: Literal["l2", "standardise", "none"] = "l2"
    """`l2` compares directions only; `standardise` counts in the teacher's deviations."""
    reduction: Literal["mean", "sum"] = "sum"
    """`sum` is the paper's formula, `mean` its authors' code."""
    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def needs(self, models: Models) -> Needs:
        """Return that [CLS] states are read, of the student at the mapped layers."""
        models.require("cls")
        models.require_equal_width(has_projection=self.projection)
        if self.normalise == "standardise" and any(theirs == 0 for _, theirs in self.pairs(models)):
            raise SettingsError(
                [
                    "counts in the teacher's deviations, but its [CLS] of layer 0, the embedding "
                    "output, is the same in every row. Leave layer 0 out, or set normalise to l2"
                ]
            )
        arrays = {CLS, CLS_MOMENTS} if self.normalise == "standardise" else {CLS}
        return Needs(
            teacher=frozenset(arrays),
            student_cls=frozenset(student for student, _ in self.pairs(models)),
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; every layer has a [CLS] state."""
        layers = range(1, models.teacher.n_layers + 1)
        return resolve(self.layer_map, models, lowest=0, captured=layers)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.cls import ClsMatch

        return ClsMatch(self, models)


class StatesSettings(ObjectiveSettings, ABC):
    """Settings of what compares states of tokens."""

    signal: ClassVar[StateSignal]
    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "cosine"] = "mse"
    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def needs(self, models: Models) -> Needs:
        """Return the mapped layers of either model."""
        models.require(self.signal)
        models.require_equal_width(has_projection=self.projection)
        pairs = self.pairs(models)
        teacher = frozenset(ArraySpec(self.signal, theirs) for _, theirs in pairs)
        student = frozenset(ours for ours, _ in pairs)
        if self.signal == "hidden_states":
            return Needs(teacher=teacher, student_hidden_states=student)
        return Needs(teacher=teacher, student_decoder_hidden_states=student)

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; `learned` takes those that were captured."""
        captured = [array.layer for array in models.captured if array.signal == self.signal]
        return resolve(
            self.layer_map,
            models,
            lowest=0,
            captured=sorted(captured),
            is_of_decoder=self.signal != "hidden_states",
        )

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.hidden_states import HiddenStateMatch

        return HiddenStateMatch(self, models)


class HiddenStatesObjectiveSettings(StatesSettings):
    """Settings of `hidden_states`."""

    signal = "hidden_states"


class DecoderHiddenStatesSettings(StatesSettings):
    """Settings of `decoder_hidden_states`: a row's tokens are those that its decoder is given."""

    signal = "decoder_hidden_states"


class MapsSettings(ObjectiveSettings, ABC):
    """Settings of what compares attention maps."""

    signal: ClassVar[MapSignal]
    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "kl"] = "mse"
    heads: Heads = "all"
    """`mean` compares maps averaged over heads; the store's own such maps where it has them."""

    def needs(self, models: Models) -> Needs:
        """Return the mapped layers of either model.

        Raises:
            SettingsError: also where the models differ in their heads.
        """
        pools = self.pools(models)
        models.require("pooling" if pools else self.signal)
        self._check_heads(models)
        pairs = self.pairs(models)
        teacher = frozenset(self.array(models, theirs) for _, theirs in pairs)
        student = frozenset(ours for ours, _ in pairs)
        if pools:
            return Needs(teacher=teacher, student_pooling=True)
        if self.signal == "attentions":
            return Needs(teacher=teacher, student_attentions=student)
        if self.signal == "decoder_attentions":
            return Needs(teacher=teacher, student_decoder_attentions=student)
        return Needs(teacher=teacher, student_cross_attentions=student)

    def pools(self, models: Models) -> bool:
        """Say whether the weights by which a student pools its tokens stand for its maps."""
        return self.signal == "attentions" and "pooling" in models.student.gives

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; `learned` takes those that were captured."""
        captured = {array.layer for array in models.captured if array.signal == self.signal}
        return resolve(
            self.layer_map,
            models,
            lowest=1,
            captured=sorted(captured),
            is_of_decoder=self.signal != "attentions",
        )

    def array(self, models: Models, layer: int) -> ArraySpec:
        """Return the array of the store that has this layer's maps."""
        mean = ArraySpec(self.signal, layer, "mean")
        averages = self.heads == "mean" or self.pools(models)
        return mean if averages and mean in models.captured else ArraySpec(self.signal, layer)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.attentions import AttentionMatch

        return AttentionMatch(self, models)

    def _check_heads(self, models: Models) -> None:
        ours, theirs = models.student.n_heads, models.teacher.n_heads
        if not self.pools(models) and self.heads == "all" and ours != theirs:
            raise SettingsError(
                [
                    f"compares maps of {ours} heads (student) with maps of {theirs} (teacher). "
                    "Set heads: mean"
                ]
            )
        if self.pools(models) and models.teacher.head_reads != "first":
            raise SettingsError(
                [
                    "compares the student's attention pooling with the row of the teacher's first "
                    f"token, but the teacher's head reads the {models.teacher.head_reads} token. "
                    "Take this objective out"
                ]
            )


class AttentionsObjectiveSettings(MapsSettings):
    """Settings of `attentions`."""

    signal = "attentions"


class DecoderAttentionsSettings(MapsSettings):
    """Settings of `decoder_attentions`."""

    signal = "decoder_attentions"


class CrossAttentionsSettings(MapsSettings):
    """Settings of `cross_attentions`."""

    signal = "cross_attentions"


Kernel = Literal["linear", "cosine", "rbf"]
Comparison = Literal["cka", "rows", "mse"]


class SimilaritySettings(ObjectiveSettings):
    """Settings of `similarity`."""

    layer_map: LayerMap = "uniform"
    kernel: Kernel = "linear"
    comparison: Comparison = "cka"
    compares_rows: ClassVar[bool] = True

    def needs(self, models: Models) -> Needs:
        """Return that [CLS] states are read, of the student at the mapped layers."""
        models.require("cls")
        return Needs(
            teacher=frozenset({CLS}),
            student_cls=frozenset(student for student, _ in self.pairs(models)),
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; every layer has a [CLS] state."""
        layers = range(1, models.teacher.n_layers + 1)
        return resolve(self.layer_map, models, lowest=0, captured=layers)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.similarity import Similarity

        return Similarity(self, models)


class AdversarialSettings(ObjectiveSettings):
    """Settings of `adversarial`."""

    layer_map: FixedLayerMap = "skip"
    hidden_size: int = Field(default=128, ge=1)
    """Width of the discriminators' hidden layer."""
    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def needs(self, models: Models) -> Needs:
        """Return that logits and [CLS] states are read, of the student at the mapped layers."""
        models.require("cls")
        models.require_labelled_rows()
        models.require_equal_width(has_projection=self.projection)
        return Needs(
            teacher=frozenset({CLS, LOGITS}),
            student_cls=frozenset(student for student, _ in self.pairs(models)),
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; every layer has a [CLS] state."""
        return resolve(self.layer_map, models, lowest=0, captured=())

    def build(self, models: Models) -> "Objective":
        """Return the loss with its discriminators, whose weights are torch's random ones."""
        from pipeline.objectives.adversarial import Adversarial

        return Adversarial(self, models)


OBJECTIVES: dict[str, type[ObjectiveSettings]] = {
    "hard_label": HardLabelSettings,
    "soft_target": SoftTargetSettings,
    "logit_match": LogitMatchSettings,
    "cls": ClsObjectiveSettings,
    "hidden_states": HiddenStatesObjectiveSettings,
    "attentions": AttentionsObjectiveSettings,
    "decoder_hidden_states": DecoderHiddenStatesSettings,
    "decoder_attentions": DecoderAttentionsSettings,
    "cross_attentions": CrossAttentionsSettings,
    "similarity": SimilaritySettings,
    "adversarial": AdversarialSettings,
}
