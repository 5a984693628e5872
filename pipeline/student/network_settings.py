"""Settings of the students that are not Transformers, made from their config classes."""

import dataclasses
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal

from pydantic import Field, create_model
from transformers import PreTrainedConfig, PreTrainedModel

from pipeline.core.errors import SettingsError, first_line
from pipeline.models.architecture import Architecture
from pipeline.objectives.models import Part, StudentShape
from pipeline.student import STUDENTS
from pipeline.student.settings import ModelSettings
from pipeline.tasks import TASKS

# What follows from tokenizer and task is no setting.
_GIVEN = frozenset({"vocab_size", "pad_token_id"})


class NetworkSettings(ModelSettings):
    """A network over word-piece embeddings; its own settings are its config's fields."""

    embeddings: Literal["teacher", "random"] = "teacher"
    """Where the word-piece embeddings start; the teacher's are read from the store."""
    freeze_embeddings: bool = False
    """Whether they are left as they start."""
    embedding_size: int | None = Field(default=None, ge=1)
    """Null: as wide as the teacher's, or the config's default for random ones."""

    @property
    def reads_teacher_weights(self) -> bool:
        """Whether the embeddings are the teacher's."""
        return self.embeddings == "teacher"

    @property
    def started_from(self) -> str:
        """Whose embeddings it starts from; everything else is random."""
        return f"embeddings: {self.embeddings}"

    def network(self) -> type[PreTrainedModel]:
        """Return the class of the model."""
        return network_class(self.architecture)

    def config(self, embedding_size: int | None = None, **given: Any) -> PreTrainedConfig:
        """Return the model's config; `given` are the fields that are not settings.

        Raises:
            SettingsError: a setting has an impossible value.
        """
        own = {name: getattr(self, name) for name in _own_fields(self.network())}
        size = self.embedding_size or embedding_size
        if size is None:
            del own["embedding_size"]
        else:
            own["embedding_size"] = size
        try:
            return self.network().config_class(**own, **given)  # type: ignore[misc]
        except ValueError as error:
            name, _, rest = first_line(error).partition(" ")
            raise SettingsError([f"{name}: {rest}"]) from error

    def shape(self, teacher: Architecture, tokenizer: str) -> StudentShape:
        """Return one layer, the one that the head reads."""
        config, network = self.config(), self.network()
        auto_class = auto_class_of(network)
        predicts = {task.predicts for task in TASKS.values() if task.auto_class == auto_class}
        gives: set[Part] = set() if "token" in predicts else {"cls"}
        if getattr(network, "pools_by_attention"):  # noqa: B009  # of our networks only
            gives.add("pooling")
        return StudentShape(
            n_layers=1,
            hidden_size=config.hidden_size,
            n_heads=0,
            architecture=self.architecture,
            gives=frozenset(gives),
            predicts=frozenset(predicts),
        )


def network_class(architecture: str) -> type[PreTrainedModel]:
    """Return the model class of one of STUDENTS."""
    module, _, name = STUDENTS[architecture].partition(":")
    network: type[PreTrainedModel] = getattr(import_module(module), name)
    return network


def auto_class_of(network: type[PreTrainedModel]) -> str:
    """Return the name of the Auto class that a network stands beside."""
    return str(getattr(network, "auto_class"))  # noqa: B009  # of our networks only


def network_settings(architecture: str) -> type[NetworkSettings]:
    """Return the settings of one of STUDENTS: those of all, and its config's own fields."""
    network = network_class(architecture)
    fields: dict[str, Any] = {
        name: (annotation, default)
        for name, annotation, default in _fields(network)
        if name not in NetworkSettings.model_fields
    }
    fields["architecture"] = (Literal[architecture], architecture)
    return create_model(
        f"{network.__name__}Settings",
        __base__=NetworkSettings,
        __doc__=network.config_class.__doc__,
        **fields,
    )


def _own_fields(network: type[PreTrainedModel]) -> list[str]:
    return [name for name, _, _ in _fields(network)]


def _fields(network: type[PreTrainedModel]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of the fields that a network's own config declares."""
    config_class = network.config_class
    assert config_class is not None
    own = config_class.__mro__[: config_class.__mro__.index(PreTrainedConfig)]
    declared = {name: kind for part in reversed(own) for name, kind in part.__annotations__.items()}
    for field in dataclasses.fields(config_class):
        if field.name in declared and field.name not in _GIVEN:
            yield field.name, declared[field.name], field.default
