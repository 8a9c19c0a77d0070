"""Who we are on the network and which addresses we never connect to. Light: no HTTP library is loaded here.

Owns the rules; `tasks.core.transport` enforces them at connect time. Reads and writes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import ByteSize, Field

from tasks.core.config import StageConfig
from tasks.core.endpoints import APIS, DEFAULT_PORTS, AllowedHosts, Apis
from tasks.core.errors import BlockedAddressError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Not public, whatever this release of Python believes: site-local (RFC 3879), documentation (RFC 9637) and the relays
# of 6to4 (RFC 7526).
_NOT_PUBLIC = tuple(ipaddress.ip_network(name) for name in ("fec0::/10", "3fff::/20", "192.88.99.0/24"))
_METADATA = frozenset(
    {
        # Cloud metadata services. Most lie in link-local or shared ranges that are refused anyway;
        # Azure's is a public address.
        ipaddress.ip_address("169.254.169.254"),
        ipaddress.ip_address("168.63.129.16"),
        ipaddress.ip_address("100.100.100.200"),
        ipaddress.ip_address("192.0.0.192"),
        ipaddress.ip_address("fd00:ec2::254"),
    }
)
# bucket.s3.amazonaws.com, bucket.s3.us-east-1.amazonaws.com, s3.dualstack.us-east-1.amazonaws.com/bucket,
# bucket.s3-accelerate.dualstack.amazonaws.com, s3-fips.dualstack.us-east-1.amazonaws.com/bucket, …
_S3 = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-][a-z0-9-]+){0,3}\.amazonaws\.com")
NO_CONTACT = "iNaturalist is not contacted by programs that do not say who runs them."
SET_CONTACT = "Set your address or page, e.g. HARVESTMAN_CONTACT=you@example.org, or a whole HARVESTMAN_USER_AGENT."
_NAMED_ONLY = ("inaturalist.org", "inaturalist-open-data.s3.amazonaws.com")  # hosts, with their sub-domains

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Requests(StageConfig):
    """Requests allowed in any second, minute, hour and day; none = as many as you like."""

    second: int | None = Field(None, ge=1)
    minute: int | None = Field(None, ge=1)
    hour: int | None = Field(None, ge=1)
    day: int | None = Field(None, ge=1)


class Bytes(StageConfig):
    """Bytes allowed in any hour and day, as numbers or as `5GB`; none = as many as you like."""

    hour: ByteSize | None = Field(None, gt=0)
    day: ByteSize | None = Field(None, gt=0)


class Budget(StageConfig):
    """What we allow ourselves at some hosts together, over all processes and restarts of a workspace."""

    hosts: tuple[str, ...]
    """Host names, or `host:port`. `<bucket>.s3.amazonaws.com` stands for all addresses of the bucket."""
    requests: Requests = Requests()
    """Requests, counted from their answers."""
    bytes: Bytes = Bytes()
    """Bytes received."""


# What the sites ask for, with a margin. iNaturalist wants fewer than 60 requests a minute (its users see 429 at
# exactly 60) and 10,000 a day, and blocks for good who takes more than 5 GB of photos an hour or 24 GB a day.
# GBIF publishes no limit, but asked the authors of rgbif for one request a second (ropensci/rgbif, issue 320).
BUDGETS: dict[str, Budget] = {
    "inaturalist-api": Budget(hosts=("api.inaturalist.org",), requests=Requests(minute=55, day=9_500)),
    "inaturalist-photos": Budget(
        hosts=("inaturalist-open-data.s3.amazonaws.com", "static.inaturalist.org"),
        bytes=Bytes(hour=ByteSize(4_500_000_000), day=ByteSize(22_000_000_000)),
    ),
    "gbif": Budget(hosts=("api.gbif.org",), requests=Requests(second=1)),
    "openverse": Budget(hosts=("api.openverse.org",), requests=Requests(minute=18, day=180)),
    "wikimedia-commons": Budget(hosts=("commons.wikimedia.org",), requests=Requests(second=2)),
    "google-custom-search": Budget(hosts=("www.googleapis.com",), requests=Requests(minute=90, day=9_500)),
}


class _Index(NamedTuple):
    """Budgets by each host that they list. Looked up three times a request, and built once."""

    budgets: dict[str, Budget]
    """Of the settings, as they were."""
    found: dict[str, tuple[int, str, Budget]]
    """Rank, name and budget by host or `host:port`; of several that list a host the first counts."""


def _index(budgets: dict[str, Budget]) -> _Index:
    found: dict[str, tuple[int, str, Budget]] = {}
    for rank, (name, budget) in enumerate({**budgets, **BUDGETS, **budgets}.items()):
        for listed in budget.hosts:
            found.setdefault(_plain(listed), (rank, name, budget))
    return _Index(budgets, found)


class NetworkPolicy(StageConfig):
    """Who we are and where we may go: from the settings, never from a recipe."""

    user_agent: str
    """Sent with every request; names the program and a contact."""
    contact: bool = False
    """Whether `user_agent` tells the owners of sites whom to write to. Without it some hosts are not contacted."""
    allowed_hosts: AllowedHosts = ()
    """`host:port` pairs that may lie at a private or loopback address (rehearsals, intranets)."""
    apis: Apis = Field(default_factory=dict)
    """Base addresses of APIs that lie elsewhere than APIS says."""
    budgets: dict[str, Budget] = Field(default_factory=dict)
    """Budgets by name; one of a name that BUDGETS has replaces that one."""
    spent: Path | None = None
    """SQLite file that counts what is spent; none = budgets hold within one batch, or one source, only."""

    def api(self, name: str) -> str:
        """Return the base address of the API `name`, without a slash at its end."""
        return {**APIS, **self.apis}[name].rstrip("/")

    def budget(self, host: str, port: int, path: str = "") -> tuple[str, Budget] | None:
        """Return the budget that `host` belongs to, and its name; those of the settings come before ours.

        Args:
            host: in any spelling.
            port: its port.
            path: of the address; at Amazon S3 it may name the bucket.
        """
        # A copy with other budgets takes what is cached along with it.
        index = self._sites if self._sites.budgets is self.budgets else _index(self.budgets)
        host = _plain(host)
        bucket = bucket_host(host, path)
        ports = DEFAULT_PORTS.values() if port in DEFAULT_PORTS.values() else (port,)
        names = {host, bucket, *(f"{name}:{port}" for name in (host, bucket) for port in ports)} & index.found.keys()
        if not names:
            return None
        _, named, budget = min((index.found[name] for name in names), key=lambda found: found[0])
        return named, budget

    @cached_property
    def _sites(self) -> _Index:
        return _index(self.budgets)

    def lacks_contact(self, host: str, path: str = "") -> bool:
        """Return whether `host` is not to be contacted because `user_agent` does not say who we are."""
        return not self.contact and wants_contact(host, path)

    def check_contact(self, host: str, path: str = "") -> None:
        """Raise BlockedAddressError where `host` wants to know whom to write to, and is not told.

        Args:
            host: in any spelling.
            path: of the address; at Amazon S3 it may name the bucket.
        """
        if self.lacks_contact(host, path):
            raise BlockedAddressError(NO_CONTACT, received=f"{_plain(host)}; no contact is set", hint=SET_CONTACT)

    def allows(self, host: str, port: int) -> bool:
        """Return whether the settings exempt exactly this host and port from the address rules."""
        name = f"[{host}]" if ":" in host else host
        wanted = {f"{name}:{port}".lower(), f"{host}:{port}".lower()}
        return not wanted.isdisjoint(allowed.lower() for allowed in self.allowed_hosts)


def bucket_host(host: str, path: str = "") -> str:
    """Return `host`, or the one name of a bucket of Amazon S3 that all of its addresses share."""
    found = _S3.fullmatch(_plain(host))
    bucket = found and (found["bucket"] or path.lstrip("/").partition("/")[0])
    return f"{bucket}.s3.amazonaws.com" if bucket else host


def wants_contact(host: str, path: str = "") -> bool:
    """Return whether `host` is iNaturalist's, or its bucket at Amazon S3: it wants to know whom to write to.

    Args:
        host: in any spelling.
        path: of the address; at Amazon S3 it may name the bucket.
    """
    plain = _plain(bucket_host(host, path))
    return any(plain == named or plain.endswith(f".{named}") for named in _NAMED_ONLY)


def default_port(scheme: str) -> int:
    """Return the port of an http or https address that names none."""
    return DEFAULT_PORTS.get(scheme, 0)


def site_port(port: int) -> int:
    """Return the port that a site is known by: http and https of one host are one site, one machine answers both."""
    return DEFAULT_PORTS["https"] if port in DEFAULT_PORTS.values() else port


def refusal(address: str) -> str | None:
    """Say why the IP address `address` is never connected to; None when it may be.

    Refused are private, loopback, link-local, reserved, multicast, unspecified and cloud metadata
    addresses, and IPv6 addresses that carry such an IPv4 address (mapped, 6to4, Teredo, NAT64).
    """
    try:
        parsed: Address = ipaddress.ip_address(address)
    except ValueError:
        return f"{address} is not an IP address"
    for part in _connected(parsed):
        if part in _METADATA:
            return f"{address} is a cloud metadata address"
        if not part.is_global or part.is_multicast or part.is_reserved or any(part in net for net in _NOT_PUBLIC):
            return f"{address} is a {_kind(part)} address"
    return None


def literal(host: str) -> str | None:
    """Return the IP address that `host` spells out, None when it is a name to be resolved.

    Short and numeric forms (`127.1`, `2130706433`, `0x7f.1`) count: the C library would connect to them.
    """
    bare = host.strip("[]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare)) if bare[:1].isdigit() and " " not in bare else None
    except OSError:
        return None


def _plain(host: str) -> str:
    """Return a host, or `host:port`, in small letters and without the dot that may end a name."""
    name, colon, port = host.lower().partition(":")
    return f"{name.rstrip('.')}{colon}{port}"


def _connected(address: Address) -> list[Address]:
    """Return the addresses a connection to `address` may end at: an IPv6 address can carry an IPv4 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address, *filter(None, (address.sixtofour, *(address.teredo or ())))]


def _kind(address: Address) -> str:
    names = ("unspecified", "loopback", "link_local", "site_local", "multicast", "private", "reserved")
    found = next((name for name in names if getattr(address, f"is_{name}", False)), "shared or reserved")
    return found.replace("_", "-")
