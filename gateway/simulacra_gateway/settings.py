"""The gateway's settings."""

from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from simulacra.jobs.computes import ComputeSettings

__all__ = ["GatewaySettings"]


class GatewaySettings(ComputeSettings):
    """The public door: authenticates callers and passes their calls on to the services."""

    service: ClassVar[str] = "gateway"

    bootstrap_api_key: SecretStr | None = Field(
        None, description="API key of the first user; default: one is made and written to data_dir/api_key."
    )
    bootstrap_email: str = Field("admin@localhost", description="Email address of the first user.")
    key_cache_seconds: float = Field(
        3.0,
        ge=0,
        description="How long another gateway's revocation of an API key may take to be noticed here.",
    )
    heartbeat_seconds: float = Field(15.0, gt=0, description="Longest silence of a watch.")
    parallel_training_jobs: int | None = Field(None, ge=0, description="Limit of a user made without one.")
    parallel_generation_jobs: int | None = Field(None, ge=0, description="Limit of a user made without one.")

    ray_gpu_memory_gb: float | None = Field(
        None, ge=0, description="Memory of the GPUs that a task gets on the Ray compute."
    )

    @model_validator(mode="after")
    def _refuse_weak_key(self) -> Self:
        if self.bootstrap_api_key is not None and len(self.bootstrap_api_key.get_secret_value()) < 16:
            raise ValueError(
                "bootstrap_api_key needs at least 16 characters; make one with `openssl rand -hex 32`"
            )
        return self

    def targets(self) -> dict[str, str]:
        """Returns host and port of each service that is configured, by the service's name."""
        known = {
            "connector": self.connector_target,
            "trainer": self.trainer_target,
            "generator": self.generator_target,
            "qa": self.qa_target,
        }
        return {name: target for name, target in known.items() if target}
