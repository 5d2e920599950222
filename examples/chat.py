"""A chat between two terminals and two regions, on matrix-nio.

    python examples/chat.py cn alice                          the first terminal: alice, at home in cn, waits
    python examples/chat.py ru carol @alice:cn.localhost      the second: carol, at home in ru, opens a chat with her

Type a line and press Enter; Ctrl-D ends. `make run` serves the node; CHAT_URL=http://localhost:9000 names another one.
"""

import asyncio
import logging
import os
import sys
from urllib.parse import urlsplit

from aiohttp import ClientConnectionError
from nio import AsyncClient, InviteMemberEvent, LoginError, MatrixRoom, RegisterResponse, RoomMessageText

NODE = urlsplit(os.environ.get("CHAT_URL", "http://localhost:8008"))
PORTS = {"cn": 1, "eu": 2, "ru": 3}  # of the demo: each region also listens on a port of its own, after the node's
logging.getLogger("nio").setLevel(logging.ERROR)  # a name that is new cannot log in: no warning for that
PASSWORD = "a lane that joins courtyards"


async def chat(region: str, name: str, whom: str | None = None) -> None:
    me = AsyncClient(f"{NODE.scheme}://{NODE.hostname}:{(NODE.port or 0) + PORTS[region]}", name)
    try:
        await me.send("GET", "/_matrix/client/versions")
    except ClientConnectionError:
        await me.close()
        sys.exit(f"There is no node on {me.homeserver}: `make run` starts one, and CHAT_URL names another.")
    if isinstance(await me.login(PASSWORD), LoginError):
        registered = await me.register(name, PASSWORD)
        if not isinstance(registered, RegisterResponse):
            sys.exit(f"{name} can neither log in nor register: {registered.message}")

    async def show(room: MatrixRoom, event: RoomMessageText) -> None:
        if event.sender != me.user_id:
            print(f"{room.user_name(event.sender)}: {event.body}", flush=True)

    async def enter(room: MatrixRoom, event: InviteMemberEvent) -> None:
        if event.state_key == me.user_id and event.membership == "invite":
            await me.join(room.room_id)
            print(f"{event.sender} invited you, and you are in.", flush=True)

    me.add_event_callback(show, RoomMessageText)
    me.add_event_callback(enter, InviteMemberEvent)
    await me.sync()
    if whom and not any(whom in room.users for room in me.rooms.values()):
        await me.room_create(invite=[whom], is_direct=True)
    syncing = asyncio.create_task(me.sync_forever(timeout=30_000))
    print(f"You are {me.user_id}.", flush=True)
    while line := (await asyncio.to_thread(sys.stdin.readline)):
        for room_id in me.rooms:
            await me.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": line.strip()})
    syncing.cancel()
    await me.close()


if __name__ == "__main__":
    try:
        usable = NODE.scheme and NODE.hostname and NODE.port and NODE.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        sys.exit(f"CHAT_URL is {NODE.geturl()}; it is like http://localhost:8008")
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in PORTS:
        sys.exit(f"usage: chat.py {'|'.join(PORTS)} NAME [@WHOM:SERVER]")
    asyncio.run(chat(*sys.argv[1:]))
