"""The quality of synthetic data, measured against training data and a holdout that training never saw."""

from simulacra.domain.base import Model

__all__ = ["Accuracy", "Distances", "ModelMetrics", "Similarity"]


class Accuracy(Model):
    """How close discretised marginal distributions are: 1 minus their total variation distance.

    Each figure should be near the `_max` of the same name, which a holdout of the same size would reach, and
    not clearly above it.
    """

    overall: float | None = None
    univariate: float | None = None
    bivariate: float | None = None
    coherence: float | None = None
    overall_max: float | None = None
    univariate_max: float | None = None
    bivariate_max: float | None = None
    coherence_max: float | None = None
    trivariate: float | None = None
    trivariate_max: float | None = None


class Similarity(Model):
    """How similar the joint distributions of samples are within an embedding space."""

    cosine_similarity_training_synthetic: float | None = None
    cosine_similarity_training_holdout: float | None = None
    discriminator_auc_training_synthetic: float | None = None
    discriminator_auc_training_holdout: float | None = None


class Distances(Model):
    """Whether synthetic samples are nearer to training samples than new data would be.

    IMS is the share of identical samples, DCR the mean distance to the closest record.
    """

    ims_training: float | None = None
    ims_holdout: float | None = None
    dcr_training: float | None = None
    dcr_holdout: float | None = None
    dcr_share: float | None = None


class ModelMetrics(Model):
    """The quality metrics of one model."""

    accuracy: Accuracy | None = None
    distances: Distances | None = None
    similarity: Similarity | None = None
