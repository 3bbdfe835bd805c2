"""What the trainer remembers of a generator besides the resource itself: its models, its job, its seed."""

from simulacra.domain import ModelType
from simulacra.domain.base import Model

__all__ = ["TrainedModel", "TrainingState"]


class TrainedModel(Model):
    """The artifacts of one trained model: its bundle, and the report on it if there is one."""

    table_id: str
    model_type: ModelType = ModelType.TABULAR
    bundle: str
    sha256: str
    report: str | None = None


class TrainingState(Model):
    """The private part of a generator's row.

    Attributes:
        models: The models, when the training is DONE.
        initial_models: The models that the training of a CONTINUE generator starts from.
        seed: The seed of the training that was started, configured or drawn.
        job_id: The newest training.
        planned: Hash of what that training was planned for; if it differs now, its steps are of no use.
    """

    models: list[TrainedModel] | None = None
    initial_models: list[TrainedModel] | None = None
    seed: int | None = None
    job_id: str | None = None
    planned: str | None = None
