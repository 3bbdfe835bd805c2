"""The quality of synthetic data, measured against training data and a holdout that training never saw."""

from simulacra.domain.base import Model

__all__ = [
    "Accuracy",
    "Distances",
    "Interval",
    "MembershipAttack",
    "ModelMetrics",
    "Privacy",
    "PrivacyTest",
    "RelationMetrics",
    "Similarity",
    "TruePositiveRate",
    "Utility",
]


class Interval(Model):
    """A central interval of 95 % confidence."""

    low: float
    high: float


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
    overall_max_interval: Interval | None = None
    univariate_max_interval: Interval | None = None
    bivariate_max_interval: Interval | None = None
    coherence_max_interval: Interval | None = None
    trivariate_max_interval: Interval | None = None


class Similarity(Model):
    """How similar the joint distributions of samples are within an embedding space.

    The boosting AUCs are of a classifier on the columns themselves, which needs no embedding.
    """

    cosine_similarity_training_synthetic: float | None = None
    cosine_similarity_training_holdout: float | None = None
    discriminator_auc_training_synthetic: float | None = None
    discriminator_auc_training_holdout: float | None = None
    boosting_auc_training_synthetic: float | None = None
    boosting_auc_training_holdout: float | None = None
    embedded_samples: int = 0
    embedding_absent_reason: str = ""


class Distances(Model):
    """Whether synthetic samples are nearer to training samples than new data would be.

    IMS is the share of identical samples, DCR the mean distance to the closest record.
    """

    ims_training: float | None = None
    ims_holdout: float | None = None
    dcr_training: float | None = None
    dcr_holdout: float | None = None
    dcr_share: float | None = None
    dcr_share_interval: Interval | None = None
    samples: int = 0


class PrivacyTest(Model):
    """The success of one attack on training records, and on holdout records as its reference.

    The risk is (training - holdout) / (1 - holdout); the baseline is what the holdout alone would allow.
    """

    name: str
    attempts: int
    training: float
    holdout: float
    risk: float
    risk_interval: Interval
    p_value: float
    baseline: float | None = None


class TruePositiveRate(Model):
    """The share of training records that an attack finds at a given share of false alarms."""

    false_positive_rate: float
    rate: float
    interval: Interval


class MembershipAttack(Model):
    """The success of an attack that ranks records by how likely they are training records."""

    name: str
    auc: float
    auc_interval: Interval
    p_value: float
    true_positive_rates: list[TruePositiveRate] | None = None


class Privacy(Model):
    """What the synthetic samples tell of training records beyond what they tell of holdout records."""

    tests: list[PrivacyTest] | None = None
    membership_attacks: list[MembershipAttack] | None = None
    membership_p_value: float | None = None
    rare_categories: int = 0


class Utility(Model):
    """How well a model that learnt from synthetic samples predicts holdout samples; R2 or AUC."""

    target: str
    measure: str
    synthetic: float
    training: float
    difference_interval: Interval


class RelationMetrics(Model):
    """How well the synthetic rows of a child table refer to those of a parent table."""

    child_table: str
    foreign_key: str
    parent_table: str
    referential_integrity: float
    key_uniqueness: float
    child_counts: float
    child_counts_max: float | None = None
    bivariate: float | None = None
    bivariate_max: float | None = None
    null_share_training: float
    null_share_synthetic: float
    null_patterns: float
    null_patterns_max: float


class ModelMetrics(Model):
    """The quality metrics of one model."""

    accuracy: Accuracy | None = None
    distances: Distances | None = None
    similarity: Similarity | None = None
    privacy: Privacy | None = None
    utility: Utility | None = None
    relations: list[RelationMetrics] | None = None
