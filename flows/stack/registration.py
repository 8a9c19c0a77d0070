"""Registers work pools and deployments with a Prefect server, in one process.

    python -m flows.stack.registration <deploy folder> <working directory> <seconds to wait for the server>

Reads `pools.yaml` and `prefect.yaml` of the folder; writes to the server that PREFECT_API_URL names.
Flows are read as source, not imported: importing one would load TensorFlow (8 s) to learn two parameters.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import load_flow_arguments_from_entrypoint
from prefect.utilities.callables import parameter_schema_from_entrypoint
from pydantic import Field

from tasks.core.config import StageConfig


class Pool(StageConfig):
    """A work pool of pools.yaml."""

    type: str
    """Kind of worker that serves it."""
    concurrency_limit: int | None = Field(None, ge=1)
    """Flow runs at once; none = no limit."""
    description: str = ""
    """Shown on its page."""


class Pools(StageConfig):
    """All of pools.yaml."""

    pools: dict[str, Pool]
    """Work pools by name."""


class Schedule(StageConfig):
    """A schedule of a deployment."""

    slug: str
    """Its name within the deployment."""
    cron: str
    """When, in cron's five fields."""
    timezone: str = "UTC"
    """The zone those fields are in."""
    active: bool = False
    """Whether it runs from the moment it is created."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of its runs."""


class WorkPool(StageConfig):
    """The pool a deployment's runs go to."""

    name: str
    """Name of the pool."""
    job_variables: dict[str, Any] = Field(default_factory=dict)
    """Infrastructure of its runs."""


class Deployment(StageConfig):
    """A deployment of prefect.yaml; fields this does not know are refused rather than ignored."""

    name: str
    """Second half of `flow/deployment`."""
    entrypoint: str = Field(pattern=r"^[\w.]+\.\w+$")
    """Module path of the flow function."""
    description: str = ""
    """Shown on its page."""
    tags: list[str] = Field(default_factory=list)
    """Labels of its runs."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Defaults of its parameters."""
    concurrency_limit: int | None = None
    """Runs at once; further ones wait."""
    work_pool: WorkPool
    """Where its runs go."""
    schedules: list[Schedule] = Field(default_factory=list)
    """When it runs by itself."""


def read_pools(folder: Path) -> Pools:
    """Read pools.yaml of the folder."""
    return Pools.model_validate(yaml.safe_load((folder / "pools.yaml").read_text(encoding="utf-8")))


def read_deployments(folder: Path) -> list[Deployment]:
    """Read the deployments of prefect.yaml of the folder."""
    raw = yaml.safe_load((folder / "prefect.yaml").read_text(encoding="utf-8"))
    return [Deployment.model_validate(entry) for entry in raw["deployments"]]


async def register(folder: Path, working_dir: str, patience: float) -> list[str]:
    """Create or update everything the folder describes.

    Args:
        folder: holds pools.yaml and prefect.yaml.
        working_dir: where process workers open flow runs, so that relative recipe paths mean something.
        patience: seconds to wait for the server.

    Returns:
        One line a thing registered.
    """
    pools, deployments = read_pools(folder), read_deployments(folder)
    async with get_client() as client:
        await _await_api(client, patience)
        lines = [await _pool(client, name, pool) for name, pool in pools.pools.items()]
        local = {name for name, pool in pools.pools.items() if pool.type == "process"}
        for entry in deployments:
            variables = {"working_dir": working_dir} if entry.work_pool.name in local else {}
            lines.append(await _deployment(client, entry, {**variables, **entry.work_pool.job_variables}))
    return lines


async def _await_api(client: PrefectClient, patience: float) -> None:
    deadline = time.monotonic() + patience
    while (failure := await client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer from {client.api_url} in {patience:.0f} s") from failure
        await asyncio.sleep(0.2)


async def _pool(client: PrefectClient, name: str, pool: Pool) -> str:
    try:
        await client.create_work_pool(
            WorkPoolCreate(
                name=name, type=pool.type, description=pool.description, concurrency_limit=pool.concurrency_limit
            )
        )
    except ObjectAlreadyExists:
        await client.update_work_pool(
            name, WorkPoolUpdate(description=pool.description, concurrency_limit=pool.concurrency_limit)
        )
    return f"work pool {name}: {pool.concurrency_limit or 'any number of'} flow run(s) at once"


async def _deployment(client: PrefectClient, entry: Deployment, job_variables: dict[str, Any]) -> str:
    declared = load_flow_arguments_from_entrypoint(entry.entrypoint, ["name"])
    flow = declared.get("name") or entry.entrypoint.rpartition(".")[2].replace("_", "-")
    await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow),
        name=entry.name,
        entrypoint=entry.entrypoint,
        description=entry.description,
        tags=entry.tags,
        parameters=entry.parameters,
        concurrency_limit=entry.concurrency_limit,
        work_pool_name=entry.work_pool.name,
        job_variables=job_variables,
        schedules=await _schedules(client, f"{flow}/{entry.name}", entry.schedules),
        parameter_openapi_schema=parameter_schema_from_entrypoint(entry.entrypoint).model_dump(),
        enforce_parameter_schema=True,
        pull_steps=[],  # the code is installed where the worker runs
    )
    return f"deployment {flow}/{entry.name} on pool {entry.work_pool.name}"


async def _schedules(client: PrefectClient, deployment: str, wanted: list[Schedule]) -> list[DeploymentScheduleCreate]:
    """Return the schedules to store: ours, as a person has since switched and aimed them, and those a person added."""
    try:
        existing = (await client.read_deployment_by_name(deployment)).schedules
    except ObjectNotFound:
        existing = []
    changed = {found.slug: found for found in existing if found.slug}
    ours = {schedule.slug for schedule in wanted}
    stored = [
        DeploymentScheduleCreate(
            slug=schedule.slug,
            schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone),
            active=changed[schedule.slug].active if schedule.slug in changed else schedule.active,
            parameters=(changed[schedule.slug].parameters if schedule.slug in changed else None) or schedule.parameters,
        )
        for schedule in wanted
    ]
    stored += [
        DeploymentScheduleCreate(
            slug=found.slug, schedule=found.schedule, active=found.active, parameters=found.parameters
        )
        for found in existing
        if found.slug not in ours
    ]
    return stored


def main(arguments: list[str]) -> None:
    """Register and print a line for each thing; the last line is `registered`."""
    folder, working_dir, patience = arguments
    lines = asyncio.run(register(Path(folder), working_dir, float(patience)))
    sys.stdout.write("\n".join([*lines, "registered"]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
