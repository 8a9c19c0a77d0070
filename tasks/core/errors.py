"""The error tree. Library errors are translated into it at the seam where the library is called.

HarvestmanError                   every error a person is meant to read
├── ImageRefusedError             this image: becomes a row of the ledger, never leaves the door
├── TryAgainError                 the same call may succeed later
│   ├── ServerUnavailableError    the Prefect or MLflow server, or a Dask or Ray cluster, does not answer
│   └── SourceUnavailableError    a site that lists images does not answer
└── StopError                     nothing helps but a person
    ├── RecipeError               the recipe asks for something that cannot be
    ├── SourceError               a source's answer or file cannot be read
    ├── DataError                 the images at hand do not suffice
    ├── WeightsError              pretrained weights are missing or wrong
    ├── BlockedAddressError       an address lies where we never connect to (private, loopback, metadata)
    ├── WorkspaceError            the workspace cannot be read or written (permissions, disk full)
    └── BusyError                 another run is at work on the same thing
"""

from __future__ import annotations


class HarvestmanError(Exception):
    """What broke, what was received, what to do: one sentence each, shown to a person as they are."""

    def __init__(self, what: str, *, received: str = "", hint: str = "") -> None:
        """Keep the three sentences apart so that a front end can lay them out."""
        self.what, self.received, self.hint = what, received, hint
        super().__init__("\n".join(part for part in (what, received, hint) if part))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes (keyword-only arguments do not by default)."""
        return _rebuild, (type(self), dict(self.__dict__), self.args)


def _rebuild(kind: type[HarvestmanError], state: dict[str, object], args: tuple[object, ...]) -> HarvestmanError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ImageRefusedError(HarvestmanError):
    """One image is refused: `outcome` is its slug in the ledger, `reason` the detail beside it."""

    def __init__(self, outcome: str, reason: str = "") -> None:
        """Outcome is one of `tasks.core.tables.OUTCOMES`."""
        super().__init__(f"{outcome}: {reason}" if reason else outcome)
        self.outcome, self.reason = outcome, reason


class TryAgainError(HarvestmanError):
    """The same call may succeed later."""


class ServerUnavailableError(TryAgainError):
    """The Prefect or the MLflow server, or a Dask or Ray cluster, does not answer."""


class SourceUnavailableError(TryAgainError):
    """A site that lists images does not answer."""


class StopError(HarvestmanError):
    """Nothing helps but a person."""


class RecipeError(StopError):
    """The recipe asks for something that cannot be."""


class SourceError(StopError):
    """A source's answer or file cannot be read."""


class DataError(StopError):
    """The images at hand do not suffice."""


class WeightsError(StopError):
    """Pretrained weights are missing or wrong."""


class BlockedAddressError(StopError):
    """An address lies where we never connect to."""


class WorkspaceError(StopError):
    """The workspace cannot be read or written."""


class BusyError(StopError):
    """Another run is at work on the same thing."""
