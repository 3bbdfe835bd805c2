"""Users, their settings, limits and API keys."""

from simulacra.domain.base import Count, JsonObject, Model, Name, Timestamp

__all__ = [
    "ApiKey",
    "Credits",
    "CurrentUser",
    "ParallelGenerationJobs",
    "ParallelTrainingJobs",
    "User",
    "UserSettingsAssistantUpdateConfig",
    "UserSettingsProfileUpdateConfig",
    "UserSettingsUpdateConfig",
    "UserUsage",
]


class Credits(Model):
    """The account of a user's credits in a period; no limit if `limit` is None."""

    current: float | None = None
    limit: float | None = None
    period_start: Timestamp | None = None
    period_end: Timestamp | None = None


class ParallelTrainingJobs(Model):
    """How many trainings of a user run at a time; no limit if `limit` is None."""

    current: Count | None = None
    limit: Count | None = None


class ParallelGenerationJobs(Model):
    """How many generations of a user run at a time; no limit if `limit` is None."""

    current: Count | None = None
    limit: Count | None = None


class UserUsage(Model):
    """What a user uses, and may use."""

    credits: Credits | None = None
    parallel_training_jobs: ParallelTrainingJobs | None = None
    parallel_generation_jobs: ParallelGenerationJobs | None = None


class User(Model):
    """A user of the platform."""

    id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None


class CurrentUser(Model):
    """The user who asks."""

    id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    settings: JsonObject | None = None
    usage: UserUsage | None = None
    unread_notifications: Count | None = None


class UserSettingsProfileUpdateConfig(Model):
    """Changes of a user's profile."""

    first_name: str | None = None
    last_name: str | None = None


class UserSettingsAssistantUpdateConfig(Model):
    """Changes of what the assistant knows of the user and how it answers."""

    about_user_message: str | None = None
    about_model_message: str | None = None


class UserSettingsUpdateConfig(Model):
    """Changes of a user's settings."""

    profile: UserSettingsProfileUpdateConfig | None = None
    assistant: UserSettingsAssistantUpdateConfig | None = None


class ApiKey(Model):
    """A key by which a program acts for a user; the key itself is shown once, when it is made."""

    id: str
    name: Name
    prefix: str
    created_at: Timestamp
    last_used_at: Timestamp | None = None
    expires_at: Timestamp | None = None
