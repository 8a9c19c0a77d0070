"""The winner as a versioned, servable model in MLflow's registry, behind an alias."""

import tasks.track  # noqa: F401 - it sets how MLflow's client behaves, which must come before MLflow is imported
