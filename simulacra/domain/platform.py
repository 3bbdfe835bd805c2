"""The platform itself: its version and the models that it can train."""

from typing import Final

from simulacra.domain.base import Model
from simulacra.domain.model import ModelType

__all__ = ["MODELS", "AboutService", "ModelDescription"]


class AboutService(Model):
    """General information about the platform."""

    version: str | None = None
    assistant: bool | None = None


class ModelDescription(Model):
    """A model that can be trained; `name` is what `ModelConfiguration.model` accepts."""

    name: str
    model_type: ModelType
    description: str = ""
    is_default: bool = False


MODELS: Final = (
    ModelDescription(
        name="simulacra/tabular",
        model_type=ModelType.TABULAR,
        description=(
            "An any-order autoregressive network over the columns' codes; its size follows from the data. "
            "The right choice for every table."
        ),
        is_default=True,
    ),
)
"""The models that this version can train."""
