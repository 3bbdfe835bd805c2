"""Computes: the hardware that jobs may run on."""

from typing import Annotated

from pydantic import Field

from simulacra.domain.base import Count, Enumeration, Integer, JsonObject, Model, Name

__all__ = ["Compute", "ComputeConfig", "ComputeListItem", "ComputeResources", "ComputeType"]


class ComputeType(Enumeration):
    """The type of a compute: a Kubernetes cluster, a Ray cluster, or worker processes beside the service."""

    KUBERNETES = "KUBERNETES"
    RAY = "RAY"
    LOCAL = "LOCAL"


class ComputeResources(Model):
    """The hardware that a task gets; memory is in gigabytes."""

    cpus: Count | None = None
    memory: Annotated[float, Field(ge=0)] | None = None
    gpus: Count | None = 0
    gpu_memory: Annotated[float, Field(ge=0)] | None = 0.0


class Compute(Model):
    """Hardware for executing tasks; secrets are never returned, `secrets_set` names those that are set."""

    id: str | None = None
    name: Name | None = None
    type: ComputeType | None = None
    config: JsonObject | None = None
    secrets: JsonObject | None = Field(default=None, repr=False)
    resources: ComputeResources | None = None
    order_index: Integer | None = None
    secrets_set: list[str] | None = None


class ComputeConfig(Model):
    """The configuration of a new compute."""

    name: Name | None = None
    type: ComputeType | None = None
    resources: ComputeResources | None = None
    config: JsonObject | None = None
    secrets: JsonObject | None = Field(default=None, repr=False)
    order_index: Integer | None = None


class ComputeListItem(Model):
    """What a list shows of a compute."""

    id: str | None = None
    type: ComputeType | None = None
    name: str | None = None
    resources: ComputeResources | None = None
