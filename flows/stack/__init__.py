"""The local stack: Prefect server, MLflow server and two workers on this machine, for one workspace.

Owns `<workspace>/stack/`: `stack.json` (ports, processes), `logs/`, and the servers' own data.
Imports neither Prefect nor MLflow: their servers and the registration are processes of their own.
"""

from flows.stack.lifecycle import down, find_stack, up
from flows.stack.processes import ProcessRecord
from flows.stack.state import Stack, stack_environment

__all__ = ["ProcessRecord", "Stack", "down", "find_stack", "stack_environment", "up"]
