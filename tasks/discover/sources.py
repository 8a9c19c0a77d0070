"""The places images can come from: one module a source, found by its name in a recipe.

Reads and writes nothing. To add a source: a config, a module with `problems` and `pages`, a line in SOURCES.
"""

from __future__ import annotations

from tasks.discover import (
    archive,
    darwin_core,
    folder,
    gbif,
    google,
    inaturalist,
    inaturalist_export,
    inaturalist_open_data,
    openverse,
    url_list,
    wikimedia_commons,
)
from tasks.discover.found import SourceModule

SOURCES: dict[str, SourceModule] = {
    "url_list": url_list,
    "folder": folder,
    "archive": archive,
    "inaturalist": inaturalist,
    "inaturalist_export": inaturalist_export,
    "inaturalist_open_data": inaturalist_open_data,
    "gbif": gbif,
    "darwin_core": darwin_core,
    "google": google,
    "openverse": openverse,
    "wikimedia_commons": wikimedia_commons,
}
