"""Requests as no client would make them: bytes on a socket."""

import asyncio
from urllib.parse import urlsplit


async def exchange(base_url: str, sent: bytes, *, end: bool = False, within_s: float = 15.0) -> bytes:
    """Send bytes, and read until the server closes or has answered once. `end`: say that nothing more will come.

    Raises: TimeoutError when the server neither answers nor closes.
    """
    at = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        async with asyncio.timeout(within_s):
            try:
                writer.write(sent)
                await writer.drain()
                if end:
                    writer.write_eof()
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError) as closed:
                return closed.partial if isinstance(closed, asyncio.IncompleteReadError) else b""
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":", 1)[1])
            return head + await reader.readexactly(length)
    finally:
        writer.close()
