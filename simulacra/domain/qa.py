"""The parts of a quality assessment: where the data are, and the scores of columns and pairs."""

from simulacra.domain.base import Enumeration, Identifier, Model

__all__ = ["ColumnScore", "DataLocation", "EvaluationContext", "EvaluationReference", "PairScore", "ScoreBin"]


class EvaluationReference(Enumeration):
    """What the accuracy of synthetic data is measured against."""

    TRAINING = "TRAINING"
    TRAINING_AND_HOLDOUT = "TRAINING_AND_HOLDOUT"


class DataLocation(Model):
    """Where a data set is; a FILE_UPLOAD connector needs no location."""

    connector_id: Identifier
    location: str = ""


class EvaluationContext(Model):
    """Where the tables are in which the subjects of a comparison's rows are described."""

    synthetic: DataLocation
    training: DataLocation
    holdout: DataLocation | None = None
    key_column: Identifier


class ScoreBin(Model):
    """A bin of a column's distribution, with the shares of training and synthetic samples in it."""

    label: str
    training_share: float
    synthetic_share: float


class ColumnScore(Model):
    """The univariate accuracy of a column."""

    column: str
    accuracy: float
    accuracy_max: float | None = None
    bins: list[ScoreBin] | None = None


class PairScore(Model):
    """The bivariate accuracy of a pair of columns, or the coherence of one column if both are the same.

    Shares are those of the first label of the first column with each label of the second one, and so on.
    """

    first_column: str
    second_column: str
    accuracy: float
    accuracy_max: float | None = None
    first_labels: list[str] | None = None
    second_labels: list[str] | None = None
    training_shares: list[float] | None = None
    synthetic_shares: list[float] | None = None
