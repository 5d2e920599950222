"""The addresses that a node listens on: that they can be had is asked before anything is made."""

import asyncio
import errno
import os
import socket

from hutong.config import Config


class CannotListen(Exception):
    """An address cannot be had; the message says which, of which setting, and what to do."""


async def can_be_had(settings: Config) -> None:
    """Raises: CannotListen."""
    demo = settings.file is None
    await _try("host", settings.host, "port", settings.port, "give --port another")
    for region in settings.local_regions:
        name = f"regions.{region.name}.port"
        cure = "give --port another: the demo's regions are on the ports after it" if demo else f"set {name} to another"
        await _try("host", settings.host, name, region.port, cure)
    await _try("metrics.host", settings.metrics.host, "metrics.port", settings.metrics.port, "set it to another")


async def _try(host_setting: str, host: str, port_setting: str, port: int | None, cure: str) -> None:
    if port is None:
        return
    try:
        sockets = await listening(host, port)
    except socket.gaierror as error:
        raise _nothing(f'{host_setting} is "{host}", which no address is found for: {error.strerror}') from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise _nothing(f'{host_setting} is "{host}", which is no address of this machine') from None
        if error.errno == errno.EADDRINUSE:
            why = f"it is in use; {cure}, or stop what uses it"
        elif error.errno == errno.EACCES:
            why = f"this user may not; {cure}, 1024 or more"
        else:
            why = f"{os.strerror(error.errno or 0)}; {cure}"
        raise _nothing(f"cannot listen on {host}, port {port} ({port_setting}): {why}") from None
    for each in sockets:
        each.close()


def _nothing(why: str) -> CannotListen:
    return CannotListen(f"{why}. Nothing was started.")


async def listening(host: str, port: int) -> list[socket.socket]:
    """A bound socket for each address of `host`, all with the same port. Raises: OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            try:
                sock.bind((address[0], port, *address[2:]))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL and len(found) > 1:
                    sockets.remove(sock)  # `localhost` has an IPv6 address also where IPv6 is switched off
                    sock.close()
                    continue
                raise OSError(error.errno, f"cannot listen on {host}, port {port}: {error.strerror}") from None
            port = sock.getsockname()[1]
        if not sockets:
            raise OSError(
                errno.EADDRNOTAVAIL, f"cannot listen on {host}, port {port}: this machine has no such address"
            )
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets
