"""The network interface by which this machine's workers reach the others."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from .environment import Place

_VARIABLE = "GLOO_SOCKET_IFNAME"
_SIOCGIFADDR = 0x8915  # of linux/sockios.h


def choose_interface(place: Place, store: Any) -> None:
    """Let Gloo talk over the interface by which the workers have met, unless the user has chosen one.

    All workers call this. By itself, Gloo takes the address that the machine's own name leads to. In the hosts file of
    many systems that is 127.0.1.1, where no other machine finds it.
    """
    address = _address_towards(place.address, place.port)
    key = "address/{}".format
    store.set(key(place.rank), address)
    if _VARIABLE in os.environ:
        return
    if not place.one_machine:
        # Where the workers meet, even that address may lead to this machine alone. The others know better.
        others = iter(range(place.count))
        while _is_loopback(address) and (other := next(others, None)) is not None:
            theirs = store.get(key(other)).decode()
            if theirs and not _is_loopback(theirs):
                address = _address_towards(theirs, place.port)
    interface = _loopback() if place.one_machine or _is_loopback(address) else _interface_with(address)
    if interface:
        os.environ[_VARIABLE] = interface


def _address_towards(host: str, port: int) -> str:
    """Return this machine's address in what it sends there, or nothing if it cannot. Nothing is sent."""
    with suppress(OSError):
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(family, kind, protocol) as sending:
                sending.connect(address)
                return str(sending.getsockname()[0])
    return ""


def _is_loopback(address: str) -> bool:
    return bool(address) and ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _loopback() -> str:
    """Return the name of the interface by which the processes of one machine reach each other."""
    names = [name for _, name in socket.if_nameindex()] if hasattr(socket, "if_nameindex") else []
    return next((name for name in ("lo", "lo0") if name in names), "")


def _interface_with(address: str) -> str:
    """Return the name of the interface with this address; nothing if it is not known, as on systems but Linux."""
    if sys.platform != "linux" or not address:
        return ""
    sought = ipaddress.ip_address(address.partition("%")[0])
    if sought.version == 6:
        with suppress(OSError):
            for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
                number, *_, name = line.split()
                if int(number, 16) == int(sought):
                    return name
        return ""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("40s", name.encode()))
                if answer[20:24] == sought.packed:
                    return name
    return ""
