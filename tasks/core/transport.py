"""The HTTP client of every request: httpx over aiohttp, with the address rules enforced at connect time.

Reads a NetworkPolicy; writes nothing. httpx's own pool opens a connection per request or burns
eleven times the CPU; over aiohttp 3,000 images cost 0.5 ms of CPU each and 65 connections.
"""

from __future__ import annotations

import math
import re
import socket
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

from tasks.core.errors import BlockedAddressError
from tasks.core.hosts import place
from tasks.core.network import NetworkPolicy, literal, refusal

_SHOWN = 200  # characters of a name that is none
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_KEEPALIVE = 30.0  # seconds an idle connection is kept for the next image of the same host


def guarded_client(
    network: NetworkPolicy,
    *,
    timeout: float,
    connections: int = 32,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Return an async client that never connects to a private, loopback or metadata address.

    Must be made inside a running event loop. HTTP/1.1 only; no redirects are followed unless asked for;
    proxies, certificates and passwords of the environment are ignored, no cookie is kept.

    Args:
        network: who we are, and which hosts are exempt.
        timeout: seconds to connect, and seconds without a byte.
        connections: connections open at once.
        transport: another transport, for recorded answers; the guard is then not in the way.
    """
    return httpx.AsyncClient(
        transport=transport or GuardedTransport(network, connections=connections),
        headers={"User-Agent": network.user_agent, "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(timeout, pool=None),
        trust_env=False,
        follow_redirects=False,
    )


class GuardedTransport(httpx.AsyncBaseTransport):
    """aiohttp's connector behind httpx's interface, with a guard for names and one for literal addresses.

    Every hop of a redirect passes through here, so the guard holds for redirects too.
    """

    def __init__(self, network: NetworkPolicy, *, connections: int) -> None:
        """Make the transport; the session and its pool open with the first request."""
        self._network = network
        session = partial(_session, network, connections, httpx.create_ssl_context(trust_env=False))
        self._transport = AiohttpTransport(client=session)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Refuse literal addresses, which bypass a resolver, and hosts that want a contact; then send.

        Raises:
            BlockedAddressError: the host is, or resolves to, an address we never connect to; or it is not contacted
                without a contact.
            httpx.InvalidURL: aiohttp, or the resolver, can make nothing of the address.
            httpx.HTTPError: all else that can go wrong before there is an answer.
        """
        host, port = place(request.url)
        self._network.check_contact(host, request.url.path)
        address = literal(host)
        if address is not None and not self._network.allows(host, port):
            _refuse(refusal(address), host, port)
        try:
            return await self._transport.handle_async_request(request)
        except aiohttp.InvalidURL as error:
            raise httpx.InvalidURL(str(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # those that httpx-aiohttp has no name for
            raise httpx.ConnectError(str(error)) from error

    async def aclose(self) -> None:
        """Close the pool."""
        await self._transport.aclose()


class GuardedResolver(AbstractResolver):
    """Resolves names with the system's resolver, in threads, and drops addresses we never connect to."""

    def __init__(self, network: NetworkPolicy) -> None:
        """Wrap the system's resolver."""
        self._network = network
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host` that may be connected to.

        Raises:
            BlockedAddressError: it has none but forbidden ones.
            OSError: it has none at all.
            httpx.InvalidURL: it is no name that could have one, such as one with a label of 64 letters.
        """
        try:
            found = await self._system.resolve(host, port, family)
        except UnicodeError as error:  # which no name is sent to a server for
            raise httpx.InvalidURL(f"{host[:_SHOWN]} is no name of a host: {error}") from error
        if self._network.allows(host, port):
            return found
        reasons = [refusal(result["host"]) for result in found]
        allowed = [result for result, reason in zip(found, reasons, strict=True) if reason is None]
        if not allowed:
            _refuse(next(filter(None, reasons), f"{host} has no address"), host, port)
        return allowed

    async def close(self) -> None:
        """Close the system's resolver."""
        await self._system.close()


class _CleanConnector(aiohttp.TCPConnector):
    """Never reuses a connection on which something has come that nobody asked for.

    aiohttp looks for it when a connection goes back to its pool, not when it leaves it: a second answer that comes
    a moment after the first would be taken for the answer to the next request.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        for _ in range(self.limit or 1):
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("the server speaks before it is asked")


class _Answer(aiohttp.ClientResponse):
    """An answer whose reason phrase can be encoded: httpx-aiohttp raises on one that is not UTF-8."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        answer = await super().start(connection)
        self.reason = self.reason and self.reason.encode("utf-8", "replace").decode()
        return answer


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds a Retry-After header asks for, in its number or its date form; None when absent.

    Parts of a second, which the standard does not know but servers send, count as a whole one.
    """
    text = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
        return float(math.ceil(seconds)) if seconds < math.inf else seconds  # of 400 digits there is no whole number
    moment = http_date(text)
    return max(0.0, (moment - datetime.fromtimestamp(time.time(), UTC)).total_seconds()) if moment else None


def http_date(text: str) -> datetime | None:
    """Return the moment that a header such as Date names; None where it names none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _session(network: NetworkPolicy, connections: int, context: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = _CleanConnector(
        resolver=GuardedResolver(network),
        limit=connections,
        ssl=context,
        keepalive_timeout=_KEEPALIVE,
    )
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, cookie_jar=jar, response_class=_Answer, trust_env=False)


def _refuse(reason: str | None, host: str, port: int) -> None:
    if reason is None:
        return
    raise BlockedAddressError(
        f"{host} is not connected to: {reason}.",
        received=f"{host}:{port}",
        hint=f"If this host is yours, name it: HARVESTMAN_ALLOWED_HOSTS='[\"{host}:{port}\"]'.",
    )
