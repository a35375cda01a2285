"""Where requests come from."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from fastapi import Request


def address_of(request: Request) -> str:
    """Where the request comes from, as the server in front of us or the connection itself says."""
    return "unknown" if request.client is None else request.client.host


def comes_from(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the address lies in one of the networks; what is no address lies in none."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
