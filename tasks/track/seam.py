"""The seam to MLflow: its exceptions become ours, and a server is asked whether it is there at all.

Reads nothing; `check_tracker` writes and removes a probe file where the store is an SQLite file.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException

from tasks.core.errors import HarvestmanError, ServerUnavailableError, StopError, WorkspaceError
from tasks.core.files import check_writable, storage_error

# It prints a line of its own for each try of a server that is away; what matters of it is in our error.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

HEALTH_TIMEOUT = 4.0  # seconds
_SQLITE = "sqlite:///"
_START = (
    "Start it (`harvestman up` starts one on this machine), or set MLFLOW_TRACKING_URI to another, "
    "and run the same command again."
)
_UNREACHABLE = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.RetryError)
_UNREACHABLE_CODES = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
# What SQLite, the operating system or a server's answer says, in lower case: (signs, error, what broke, what to do).
_SIGNS: tuple[tuple[tuple[str, ...], type[HarvestmanError], str, str], ...] = (
    (
        ("disk is full", "no space left on device", "disk quota exceeded"),
        WorkspaceError,
        "has no space left.",
        "Free some space there and run the same command again.",
    ),
    (
        ("readonly database", "unable to open database file", "permission denied", "read-only file system"),
        WorkspaceError,
        "cannot write its files.",
        "Give its user write permission to its database and artifact folder.",
    ),
    (
        ("database is locked",),
        ServerUnavailableError,
        "is busy: another process holds its database.",
        "Run the same command again, or use an MLflow server, which many may write through.",
    ),
)


def shown(uri: str) -> str:
    """Return `uri` without the password it may carry."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def sqlite_file(uri: str) -> Path | None:
    """Return the file behind an sqlite:/// address, None for any other address."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def check_tracker(uri: str) -> None:
    """Return when MLflow at `uri` can be written to; within about five seconds either way.

    Args:
        uri: http(s)://… of a server, or sqlite:///… of a file.

    Raises:
        ServerUnavailableError: the server does not answer, or answers that it is not well.
        WorkspaceError: the SQLite file or its folder cannot be written.
        StopError: `uri` is neither.
    """
    file = sqlite_file(uri)
    if file is not None:
        _check_file(file)
    elif uri.startswith(("http://", "https://")):
        _check_server(uri)
    else:
        raise StopError(
            f"{shown(uri)} is no address of an MLflow tracker.",
            received=f"scheme {urlsplit(uri).scheme or '(none)'}",
            hint="Set MLFLOW_TRACKING_URI to http(s)://host:port of a server or sqlite:///file.db.",
        )


def _check_file(file: Path) -> None:
    check_writable(file.parent)
    if file.exists() and not os.access(file, os.W_OK):
        raise storage_error(PermissionError(errno.EACCES, "Permission denied", str(file)), file)


def _check_server(uri: str) -> None:
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT, follow_redirects=True)
    except httpx.HTTPError as error:
        raise _unavailable(uri, f"{type(error).__name__}: {error}") from error
    if answer.status_code == httpx.codes.FORBIDDEN:
        raise ServerUnavailableError(
            f"The MLflow server at {shown(uri)} refuses us.",
            received=f"HTTP 403: {answer.text[:200]}",
            hint="Start it with --allowed-hosts and the name it is called by here.",
        )
    if answer.status_code != httpx.codes.OK:
        raise _unavailable(uri, f"HTTP {answer.status_code} from /health: {answer.text[:200]}")


def _unavailable(uri: str, received: str) -> ServerUnavailableError:
    return ServerUnavailableError(f"The MLflow server at {shown(uri)} does not answer.", received=received, hint=_START)


@contextmanager
def translating(uri: str) -> Iterator[None]:
    """Turn what MLflow raises in the block into our errors.

    Raises:
        ServerUnavailableError: no connection, no answer in time, or an answer that says "later".
        WorkspaceError: a full disk or a missing permission, here or at the server.
        StopError: anything else MLflow refuses.
    """
    try:
        yield
    except HarvestmanError:
        raise
    except (MlflowException, requests.exceptions.RequestException, sqlalchemy.exc.SQLAlchemyError) as error:
        raise translated(error, uri) from error
    except OSError as error:  # artifacts of an SQLite tracker are files
        raise storage_error(error, Path(str(error.filename or sqlite_file(uri) or uri))) from error


def translated(error: Exception, uri: str) -> HarvestmanError:
    """Return our error for one of MLflow's, requests' or SQLAlchemy's."""
    text = " ".join(str(error).split())[:500]
    lowered = text.lower()
    where = f"MLflow at {shown(uri)}"
    for signs, kind, what, hint in _SIGNS:
        if any(sign in lowered for sign in signs):
            return kind(f"{where} {what}", received=text, hint=hint)
    if _out_of_reach(error):
        return _unavailable(uri, text)
    return StopError(
        f"{where} refused what it was told.",
        received=text,
        hint="If its version differs from the one in requirements.lock, install that one.",
    )


def _out_of_reach(error: BaseException) -> bool:
    """MLflow wraps what requests raised, as cause or as context; HTTP 5xx arrives as codes of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _UNREACHABLE):
            return True
        if isinstance(seen, RestException) and str(seen.error_code) in _UNREACHABLE_CODES:
            return True
        if isinstance(seen, requests.exceptions.HTTPError) and seen.response is not None:
            return bool(seen.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR)
        seen = seen.__cause__ or seen.__context__
    return False
