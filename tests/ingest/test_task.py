from __future__ import annotations

from prefect.logging import disable_run_logger

from tasks.core.network import NetworkPolicy
from tasks.core.tables import read_ledger
from tasks.core.workspace import Workspace
from tasks.ingest.config import IngestConfig
from tasks.ingest.plan import plan
from tasks.ingest.task import ingest_batch

from .conftest import NOW, Site, answer, offer_urls, picture


def test_a_task_takes_addresses_and_returns_counts(
    workspace: Workspace, config: IngestConfig, network: NetworkPolicy, site: Site
) -> None:
    collection = workspace.collection("birds")
    offer_urls(collection, site.add("/1", answer(picture(1))), site.url("/none"))
    [batch] = plan(collection, config, now=NOW).batches
    with disable_run_logger():
        counts = ingest_batch.fn(batch=str(batch), workspace=str(workspace.root), config=config, network=network)
    assert counts == {"outcomes": {"kept": 1, "not-found": 1}, "received": len(picture(1)) + 0}
    assert read_ledger(collection).height == 2
