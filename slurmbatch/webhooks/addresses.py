"""To which addresses a connection may be made: not into the networks behind the service."""

from __future__ import annotations

import ipaddress
import socket

from slurmbatch.targets import Target

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def resolve(target: Target) -> str:
    """The one address to connect to, looked up once. Raises OSError, also where any address of the
    host's is one that is not allowed: such a host may be there to lead astray."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not target.allow_private:
        for each in addresses:
            if not is_public(each):
                raise OSError(f"{target.host} is at {each}, which is no public address")
    return addresses[0]


def is_public(text: str) -> bool:
    """Whether this is an address of the public internet, and whatever is inside of it, too."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inside = _inside(address)
    if inside:
        return all(is_public(str(each)) for each in inside)
    # Those are "global" to the library.
    others = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
    return address.is_global and not others


def _inside(address: Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 one stands for: ::ffff:127.0.0.1, ::127.0.0.1, 6to4, Teredo,
    NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    if address in _NAT64 or int(address) >> 32 == 0:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return []
