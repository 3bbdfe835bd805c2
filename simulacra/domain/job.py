"""Long work: jobs, their steps and progress."""

from simulacra.domain.base import Count, Enumeration, JsonObject, Model, Timestamp

__all__ = [
    "Job",
    "JobEstimate",
    "JobKind",
    "JobLogLine",
    "JobProgress",
    "LogLevel",
    "ProgressStatus",
    "ProgressStep",
    "ProgressValue",
    "StepCode",
]


class ProgressStatus(Enumeration):
    """The status of a job, of a step, of a training or of a generation."""

    NEW = "NEW"
    CONTINUE = "CONTINUE"
    ON_HOLD = "ON_HOLD"
    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """True for DONE, FAILED and CANCELED: nothing happens any more unless it is started again."""
        return self in (ProgressStatus.DONE, ProgressStatus.FAILED, ProgressStatus.CANCELED)

    @property
    def is_active(self) -> bool:
        """True for ON_HOLD, QUEUED and IN_PROGRESS: it has been started and has not ended."""
        return self in (ProgressStatus.ON_HOLD, ProgressStatus.QUEUED, ProgressStatus.IN_PROGRESS)


class StepCode(Enumeration):
    """What a step of a job does."""

    PULL_TRAINING_DATA = "PULL_TRAINING_DATA"
    ANALYZE_TRAINING_DATA = "ANALYZE_TRAINING_DATA"
    ENCODE_TRAINING_DATA = "ENCODE_TRAINING_DATA"
    TRAIN_MODEL = "TRAIN_MODEL"
    GENERATE_MODEL_REPORT_DATA = "GENERATE_MODEL_REPORT_DATA"
    CREATE_MODEL_REPORT = "CREATE_MODEL_REPORT"
    FINALIZE_TRAINING = "FINALIZE_TRAINING"
    PULL_CONTEXT_DATA = "PULL_CONTEXT_DATA"
    GENERATE_DATA = "GENERATE_DATA"
    CREATE_DATA_REPORT = "CREATE_DATA_REPORT"
    FINALIZE_GENERATION = "FINALIZE_GENERATION"
    DELIVER_DATA = "DELIVER_DATA"


class JobKind(Enumeration):
    """What a job makes: a trained generator, a synthetic dataset, or a comparison."""

    TRAINING = "TRAINING"
    GENERATION = "GENERATION"
    EVALUATION = "EVALUATION"


class LogLevel(Enumeration):
    """The importance of a line of a log."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class ProgressValue(Model):
    """How much of some work is done: `value` of `max`."""

    value: Count | None = None
    max: Count | None = None


class ProgressStep(Model):
    """The progress of a step of a job."""

    id: str | None = None
    model_label: str | None = None
    compute_name: str | None = None
    restarts: Count | None = None
    step_code: StepCode | None = None
    start_date: Timestamp | None = None
    end_date: Timestamp | None = None
    messages: list[JsonObject] | None = None
    error_message: str | None = None
    progress: ProgressValue | None = None
    status: ProgressStatus | None = None


class JobProgress(Model):
    """The progress of a job; `id` is the job's."""

    id: str | None = None
    start_date: Timestamp | None = None
    end_date: Timestamp | None = None
    progress: ProgressValue | None = None
    status: ProgressStatus | None = None
    steps: list[ProgressStep] | None = None


class JobEstimate(Model):
    """What a job would take."""

    max_seconds: float | None = None
    credits: float | None = None


class Job(Model):
    """A piece of long work on a resource; `revision` grows with every change."""

    progress: JobProgress
    kind: JobKind
    resource_uri: str
    resource_name: str
    owner_id: str
    cancel_requested: bool = False
    revision: Count = 0
    created_at: Timestamp | None = None
    estimate: JobEstimate | None = None

    @property
    def id(self) -> str:
        """The unique identifier of the job; empty for an estimate, which is not a job."""
        return self.progress.id or ""

    @property
    def status(self) -> ProgressStatus:
        """The status of the job."""
        return self.progress.status or ProgressStatus.NEW


class JobLogLine(Model):
    """A line of a job's log."""

    sequence: Count
    time: Timestamp
    step_id: str | None = None
    level: LogLevel = LogLevel.INFO
    text: str
