"""The models of a generator: their types, encodings and training configuration."""

from typing import Annotated, Self

from pydantic import Field

from simulacra.domain.base import Enumeration, Identifier, Model, Positive

__all__ = [
    "DifferentialPrivacyConfig",
    "ModelConfiguration",
    "ModelEncodingType",
    "ModelType",
    "RareCategoryReplacementMethod",
]


class ModelType(Enumeration):
    """The type of a model: for tabular data, from scratch, or for free text, on a language model."""

    TABULAR = "TABULAR"
    LANGUAGE = "LANGUAGE"


class ModelEncodingType(Enumeration):
    """The way in which a column's values are presented to the model.

    The deprecated names without TABULAR_ or LANGUAGE_ are accepted and mapped to those with it.
    """

    AUTO = "AUTO"
    TABULAR_CATEGORICAL = "TABULAR_CATEGORICAL"
    TABULAR_NUMERIC_AUTO = "TABULAR_NUMERIC_AUTO"
    TABULAR_NUMERIC_DISCRETE = "TABULAR_NUMERIC_DISCRETE"
    TABULAR_NUMERIC_BINNED = "TABULAR_NUMERIC_BINNED"
    TABULAR_NUMERIC_DIGIT = "TABULAR_NUMERIC_DIGIT"
    TABULAR_CHARACTER = "TABULAR_CHARACTER"
    TABULAR_DATETIME = "TABULAR_DATETIME"
    TABULAR_DATETIME_RELATIVE = "TABULAR_DATETIME_RELATIVE"
    TABULAR_LAT_LONG = "TABULAR_LAT_LONG"
    LANGUAGE_TEXT = "LANGUAGE_TEXT"

    @property
    def model_type(self) -> ModelType:
        """The model that a column with this encoding belongs to."""
        return ModelType.LANGUAGE if self.startswith("LANGUAGE") else ModelType.TABULAR

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        names = (f"{prefix}{value.upper()}" for prefix in ("", "TABULAR_", "LANGUAGE_"))
        return next((cls.__members__[name] for name in names if name in cls.__members__), None)


class RareCategoryReplacementMethod(Enumeration):
    """What takes the place of a rare category: the constant `_RARE_`, or a category that is not rare."""

    CONSTANT = "CONSTANT"
    SAMPLE = "SAMPLE"


class DifferentialPrivacyConfig(Model):
    """Training with differential privacy.

    `delta` is the probability with which the guarantee may fail; None lets the trainer take less than one
    over the number of subjects.
    """

    max_epsilon: Annotated[float, Field(gt=0, le=10_000)] | None = None
    noise_multiplier: Annotated[float, Field(ge=0)] | None = 1.5
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None


class ModelConfiguration(Model):
    """The training of one model; `max_training_time` is in minutes, `compute` is the id of a Compute."""

    model: Identifier | None = None
    max_sample_size: Positive | None = None
    batch_size: Positive | None = None
    max_training_time: Annotated[float, Field(gt=0)] | None = 10.0
    max_epochs: Annotated[float, Field(gt=0)] | None = 100.0
    max_sequence_window: Positive | None = 100
    enable_flexible_generation: bool | None = True
    value_protection: bool | None = True
    rare_category_replacement_method: RareCategoryReplacementMethod | None = (
        RareCategoryReplacementMethod.CONSTANT
    )
    differential_privacy: DifferentialPrivacyConfig | None = None
    compute: Identifier | None = None
