"""What a run in the tracker says of where it came from. Read without MLflow."""

from __future__ import annotations

from tasks.core.config import StageConfig


class Tracker(StageConfig):
    """Which MLflow, and which experiment in it."""

    uri: str
    """http(s)://… of a server, or sqlite:///… of a file."""
    experiment: str
    """One experiment a recipe."""


class Origin(StageConfig):
    """What made a run: becomes tags, and a link in its description."""

    recipe: str
    """The recipe's name."""
    git_commit: str | None = None
    """Commit of the code that ran, where there is one."""
    prefect_run_id: str | None = None
    """Prefect's id of the flow run."""
    prefect_url: str | None = None
    """Address of the flow run's page."""

    def tags(self) -> dict[str, str]:
        """Return the tags of a run; what is not known is left out."""
        known = {
            "harvestman.recipe": self.recipe,
            "mlflow.source.git.commit": self.git_commit,
            "harvestman.prefect_run_id": self.prefect_run_id,
            "harvestman.prefect_url": self.prefect_url,
        }
        return {name: value for name, value in known.items() if value}

    def note(self) -> str:
        """Return the Markdown line that links back to Prefect."""
        return f"\n\n[Prefect flow run]({self.prefect_url})" if self.prefect_url else ""
