"""Who we are on the network and which addresses we never connect to. Light: no HTTP library is loaded here.

Owns the rules; `tasks.core.transport` enforces them at connect time. Reads and writes nothing.
"""

from __future__ import annotations

import ipaddress
import socket

from tasks.core.config import StageConfig

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
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
_DEFAULT_PORTS = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NetworkPolicy(StageConfig):
    """Who we are and where we may go: from the settings, never from a recipe."""

    user_agent: str
    """Sent with every request; names the program and a contact."""
    allowed_hosts: tuple[str, ...] = ()
    """`host:port` pairs that may lie at a private or loopback address (rehearsals, intranets)."""
    inaturalist_api: str = "https://api.inaturalist.org/v1"
    """Base address of the iNaturalist API."""

    def allows(self, host: str, port: int) -> bool:
        """Return whether the settings exempt exactly this host and port from the address rules."""
        name = f"[{host}]" if ":" in host else host
        wanted = {f"{name}:{port}".lower(), f"{host}:{port}".lower()}
        return not wanted.isdisjoint(allowed.lower() for allowed in self.allowed_hosts)


def default_port(scheme: str) -> int:
    """Return the port of an http or https address that names none."""
    return _DEFAULT_PORTS.get(scheme, 0)


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
        if not part.is_global or part.is_multicast or part.is_reserved:
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
    names = ("unspecified", "loopback", "link_local", "multicast", "private", "reserved")
    found = next((name for name in names if getattr(address, f"is_{name}")), "shared or reserved")
    return found.replace("_", "-")
