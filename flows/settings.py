"""The environment, read once: where things lie, who we are on the network, which servers we use.

Every variable starts with HARVESTMAN_; PREFECT_API_URL and MLFLOW_TRACKING_URI keep their own names.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tasks.core.endpoints import AllowedHosts, Apis
from tasks.core.errors import StopError
from tasks.core.network import Budget, NetworkPolicy
from tasks.core.workspace import Workspace

VERSION = "0.1.0"
_PREFIX = "HARVESTMAN_"


class Settings(BaseSettings):
    """One frozen record of the environment."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True)

    workspace: Path = Path("workspace")
    """Folder that holds all that is collected and learnt."""
    contact: str = ""
    """An address or page for the owners of the sites we visit; part of the User-Agent. Without one (or a whole
    User-Agent) iNaturalist is not contacted."""
    user_agent: str = ""
    """The whole User-Agent, for those who need another one."""
    allowed_hosts: AllowedHosts = ()
    """JSON list of host:port pairs that may lie at private addresses, e.g. `["localhost:8000"]`."""
    apis: Apis = {}
    """JSON map of an API (inaturalist, inaturalist_photos, gbif, custom_search, serpapi, serper, openverse,
    wikimedia_commons, s3) to its base address, where it is another one."""
    budgets: dict[str, Budget] = {}
    """JSON map of budgets by name, beside or in place of our own; see docs/budgets.md."""
    google_key: SecretStr | None = None
    """Key of Google's Custom Search JSON API; or the Prefect Secret block `harvestman-google-key`."""
    google_cx: SecretStr | None = None
    """Id of the search engine for it; or the Prefect Secret block `harvestman-google-cx`."""
    serpapi_key: SecretStr | None = None
    """Key of serpapi.com; or the Prefect Secret block `harvestman-serpapi-key`."""
    serper_key: SecretStr | None = None
    """Key of serper.dev; or the Prefect Secret block `harvestman-serper-key`."""
    task_runner: str = "threads"
    """Where batches of addresses run: `threads`, `processes`, `dask` or `ray` of this machine, or a cluster's address:
    `dask+tcp://host:8786`, `ray://host:10001`; see docs/scaling.md."""
    tasks_at_once: int = Field(8, ge=1, le=1024)
    """Batches of addresses under way at once, over all processes."""
    weights_dir: Path | None = None
    """Folder of pretrained weights files, searched before Keras' own."""
    keras_home: Path = Field(Path("~/.keras"), validation_alias="KERAS_HOME")
    """Keras' folder; its `models/` holds pretrained weights files."""
    prefect_api_url: str | None = Field(None, validation_alias="PREFECT_API_URL")
    """Prefect server; none = the local stack of the workspace, or a temporary server in this process."""
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    """MLflow server; none = the local stack of the workspace, or its SQLite file."""

    @property
    def weight_folders(self) -> tuple[Path, ...]:
        """Where pretrained weights files may lie, in the order they are looked for."""
        own = (self.weights_dir.expanduser().resolve(),) if self.weights_dir else ()
        return (*own, self.keras_home.expanduser() / "models")

    @property
    def network(self) -> NetworkPolicy:
        """Who we are and where we may go."""
        about = f"+{self.contact.strip()}" if self.contact.strip() else "no contact given"
        agent = self.user_agent.strip() or f"harvestman/{VERSION} (image data sets; {about})"
        return NetworkPolicy(
            user_agent=agent,
            contact=bool(self.contact.strip() or self.user_agent.strip()),
            allowed_hosts=self.allowed_hosts,
            apis=self.apis,
            budgets=self.budgets,
            spent=self.folders.spent,
        )

    @property
    def folders(self) -> Workspace:
        """The workspace, as an absolute path."""
        return Workspace(self.workspace.resolve())

    @property
    def tracking_uri(self) -> str:
        """Where MLflow writes; without a server, into the file that the local stack's server reads."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.folders.root / 'stack' / 'mlflow.db'}"

    def exported(self) -> dict[str, str]:
        """Return the variables that make a flow run elsewhere on this machine read the same settings."""
        values = {
            "WORKSPACE": str(self.folders.root),
            "CONTACT": self.contact,
            "USER_AGENT": self.user_agent,
            "ALLOWED_HOSTS": json.dumps(self.allowed_hosts),
            "APIS": json.dumps(self.apis) if self.apis else "",
            "BUDGETS": json.dumps({name: budget.model_dump(mode="json") for name, budget in self.budgets.items()})
            if self.budgets
            else "",
            "TASK_RUNNER": self.task_runner,
            "TASKS_AT_ONCE": str(self.tasks_at_once),
            "WEIGHTS_DIR": str(self.weights_dir.resolve()) if self.weights_dir else "",
        }
        ours = {f"{_PREFIX}{name}": value for name, value in values.items()}
        others = {"KERAS_HOME": str(self.keras_home.expanduser()), "MLFLOW_TRACKING_URI": self.mlflow_tracking_uri}
        return {name: value for name, value in (ours | others).items() if value}


def read_settings() -> Settings:
    """Read the environment.

    Raises:
        StopError: a variable has a value that it cannot have; one line names each of them.
    """
    try:
        return Settings()
    except (SettingsError, ValidationError) as error:
        raise _refused(error) from error


def _refused(error: SettingsError | ValidationError) -> StopError:
    faults = [_explain(item) for item in error.errors()] if isinstance(error, ValidationError) else [_unread(error)]
    count = f"{len(faults)} variables" if len(faults) > 1 else "A variable"
    return StopError(
        f"{count} of the environment cannot be read.",
        received="\n".join(faults),
        hint="docs/settings.md lists them; a list is written as JSON, e.g. '[\"localhost:8000\"]'.",
    )


def _explain(item: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name, *inner = map(str, item["loc"])
    where = f"{'.'.join(inner)}: " if inner else ""
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"  {_variable(name)}: {where}{message} (received {item['input']!r})"


def _unread(error: SettingsError) -> str:
    """Explain a value that is no JSON: what is wrong stands in the cause, and the name of its field in the text."""
    found = re.search(r'field "(\w+)"', str(error))
    variable = _variable(found[1]) if found else "one of them"
    return f"  {variable}: not JSON: {error.__cause__} (received {os.environ.get(variable, '')!r})"


def _variable(field: str) -> str:
    """Return the variable that a field, or its alias, is read from."""
    return f"{_PREFIX}{field.upper()}" if field in Settings.model_fields else field
