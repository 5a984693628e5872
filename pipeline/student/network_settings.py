"""The students that are not Transformers, by the name they have in params.yaml.

Each has its settings here, which can be read and checked without torch, and its network in a
file of its own, which is imported when it is built. CONTRIBUTING.md says what both must have.
"""

from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import SettingsError, first_line
from pipeline.models.architecture import Architecture
from pipeline.signals.attentions import POOLING
from pipeline.signals.cls import CLS
from pipeline.signals.models import StudentShape
from pipeline.signals.signal import Signal
from pipeline.student.settings import ModelSettings
from pipeline.tasks import TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_Size = Annotated[int, Field(ge=1)]
_Dropout = Annotated[float, Field(ge=0, lt=1)]


class NetworkSettings(ModelSettings):
    """A network over word-piece embeddings.

    Beside those of all, its settings are the sizes in its config class, with the same defaults;
    what follows from tokenizer and task (`vocab_size`, `pad_token_id`) is none.
    """

    network: ClassVar[str]
    """Module and class of the model, a `PreTrainedModel`."""
    auto_class: ClassVar[str]
    """Name of the Transformers Auto class that it stands beside, and so the tasks it is for."""
    pools_by_attention: ClassVar[bool] = False
    """Whether `attentions` of its outputs is how much of each token the head reads."""

    embeddings: Literal["teacher", "random"] = "teacher"
    """Where the word-piece embeddings start; the teacher's are read from the store."""
    freeze_embeddings: bool = False
    """Whether they are left as they start."""
    embedding_size: int | None = Field(default=None, ge=1)
    """Null: as wide as the teacher's, or the config's default for random ones."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of what the classifier reads: of the network's `pooler_output`, if it has one."""

    @property
    def reads_teacher_weights(self) -> bool:
        """Whether the embeddings are the teacher's."""
        return self.embeddings == "teacher"

    @property
    def started_from(self) -> str:
        """Whose embeddings it starts from; everything else is random."""
        return f"embeddings: {self.embeddings}"

    @classmethod
    def network_class(cls) -> "type[PreTrainedModel]":
        """Return the class of the model."""
        module, _, name = cls.network.partition(":")
        network: type[PreTrainedModel] = getattr(import_module(module), name)
        return network

    def config(self, embedding_size: int | None = None, **given: Any) -> "PreTrainedConfig":
        """Return the model's config; `given` are the fields that are not settings.

        Raises:
            SettingsError: the config refuses a value.
        """
        own = self.model_dump(exclude={"architecture", "embeddings", "freeze_embeddings"})
        size = self.embedding_size or embedding_size
        if size is None:
            del own["embedding_size"]
        else:
            own["embedding_size"] = size
        config_class = self.network_class().config_class
        assert config_class is not None
        try:
            return config_class(**own, **given)
        except ValueError as error:
            name, _, rest = first_line(error).partition(" ")
            raise SettingsError(f"{name}: {rest}") from error

    def shape(self, teacher: Architecture, tokenizer: str) -> StudentShape:
        """Return one layer, the one that the head reads."""
        predicts = {task.predicts for task in TASKS.values() if task.auto_class == self.auto_class}
        gives: set[Signal] = set() if "token" in predicts else {CLS}
        if self.pools_by_attention:
            gives.add(POOLING)
        return StudentShape(
            n_layers=1,
            hidden_size=self.width,
            n_heads=0,
            architecture=self.architecture,
            gives=frozenset(gives),
            predicts=frozenset(predicts),
        )


class TextCnnSettings(NetworkSettings):
    """A `TextCnnForSequenceClassification`; the defaults are Kim's."""

    network = "pipeline.student.text_cnn:TextCnnForSequenceClassification"
    auto_class = "AutoModelForSequenceClassification"

    architecture: Literal["text_cnn"] = "text_cnn"
    filter_widths: tuple[_Size, ...] = Field(default=(3, 4, 5), min_length=1)
    """In tokens; each width has its own filters."""
    n_filters: _Size = 100
    """Of each width."""
    dropout: _Dropout = 0.5
    """Of the features that the classifier reads."""

    @property
    def width(self) -> int:
        """All filters."""
        return self.n_filters * len(self.filter_widths)


class BilstmSizes(NetworkSettings):
    """The sizes of a bidirectional LSTM; the defaults are Tang et al.'s smaller."""

    lstm_size: _Size = 150
    """Of each direction."""
    n_layers: _Size = 1
    hidden_size: _Size = 200
    """Of the ReLU layer."""
    dropout: _Dropout = 0.1
    """Between the LSTM's layers, and of what the classifier reads."""

    @property
    def width(self) -> int:
        """That of the ReLU layer."""
        return self.hidden_size


class BilstmSettings(BilstmSizes):
    """A `BilstmForSequenceClassification`."""

    network = "pipeline.student.bilstm:BilstmForSequenceClassification"
    auto_class = "AutoModelForSequenceClassification"
    pools_by_attention = True

    architecture: Literal["bilstm"] = "bilstm"


class BilstmTaggerSettings(BilstmSizes):
    """A `BilstmForTokenClassification`."""

    network = "pipeline.student.bilstm:BilstmForTokenClassification"
    auto_class = "AutoModelForTokenClassification"

    architecture: Literal["bilstm_tagger"] = "bilstm_tagger"


STUDENTS: dict[str, type[NetworkSettings]] = {
    "text_cnn": TextCnnSettings,
    "bilstm": BilstmSettings,
    "bilstm_tagger": BilstmTaggerSettings,
}
