"""A database that is killed, told to stop, cut off or left without disk, under load: retry, and nothing is lost."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from hutong.engines.postgres import EmbeddedPostgres
from tests.faults.chat import Chat, must_be_retryable
from tests.support.client import Client, path
from tests.support.process import NodeProcess

REGIONS = ("cn", "eu", "ru")
DISK_MIB = 256
LARGE = "x" * 60_000


@pytest.fixture
async def chat(node_process: NodeProcess) -> Chat:
    return await Chat.start(await node_process.start())


def postmaster(node: NodeProcess, region: str) -> int:
    return int((node.data / region / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def one_line_of_each(node: NodeProcess) -> None:
    """What goes on for a while is said when it begins and when it is over, not all the time between."""
    said = [line.split("  ", 1)[-1] for line in node.log]
    assert all(said.count(line) <= 2 for line in said), [line for line in set(said) if said.count(line) > 2]
    assert "Traceback" not in node.output
    assert "--- Logging error" not in "".join(node.log)


async def goes_on_from(person: Client, since: str, room: str, told: set[str]) -> None:
    """A client that comes back with its old token is told all of `told`, each once, with the pages before."""
    seen: list[str] = []
    async with asyncio.timeout(30):
        while not told <= set(seen):
            body = await person.sync(since, timeout=1_000)
            timeline = body.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {"events": []})
            seen += [event["event_id"] for event in timeline["events"]]
            page = {"end": timeline["prev_batch"]} if timeline.get("limited") else {}
            while "end" in page:
                page = await person.messages(room, "b", limit=100, to=since, **{"from": page["end"]})
                seen += [event["event_id"] for event in page["chunk"]]
            since = body["next_batch"]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
async def test_the_servers_of_all_regions_end_under_load(
    node_process: NodeProcess, chat: Chat, number: signal.Signals
) -> None:
    """SIGTERM makes PostgreSQL wait for its clients to go, and let nobody in: that must not last for ever."""
    before = {region: postmaster(node_process, region) for region in REGIONS}
    since = (await chat.bob.sync())["next_batch"]

    async def fault() -> None:
        for region, pid in before.items():
            os.kill(pid, number)
            await chat.some_more(1 if region == "cn" else 0)
        async with asyncio.timeout(30):
            while any(_running(pid) for pid in before.values()):
                await asyncio.sleep(0.05)

    await chat.go_on_during(fault)
    await chat.check()
    await goes_on_from(chat.bob, since, chat.room, set(chat.acknowledged.values()))
    assert all(postmaster(node_process, region) != pid for region, pid in before.items())
    one_line_of_each(node_process)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_every_connection_is_cut_under_load(node_process: NodeProcess, chat: Chat) -> None:
    """Those of the writers, and those of the pools; again and again."""
    since = (await chat.bob.sync())["next_batch"]
    connections = [
        await asyncpg.connect(EmbeddedPostgres(node_process.data / region / "postgres").admin_dsn("cell0"))
        for region in REGIONS
    ]

    async def fault() -> None:
        for _ in range(4):
            for connection in connections:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = 'cell0' AND pid <> pg_backend_pid()"
                )
            await asyncio.sleep(0.1)
            await chat.some_more(5)

    try:
        await chat.go_on_during(fault)
    finally:
        for connection in connections:
            await connection.close()
    await chat.check()
    await goes_on_from(chat.bob, since, chat.room, set(chat.acknowledged.values()))
    assert "Traceback" not in node_process.output


class SmallDisk:
    """A file system of its own, under a region's folder, that can be filled and emptied again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 4_096, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        continue
                except OSError:
                    continue

    def empty(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def small_disk(node_process: NodeProcess) -> Iterator[SmallDisk]:
    """cn's database, keystore and logs on a small disk."""
    folder = node_process.data / "cn"
    folder.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system, as root has it")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_disk_is_waited_out(node_process: NodeProcess, small_disk: SmallDisk) -> None:
    node = await node_process.start()
    chat = await Chat.start(node)
    since = (await chat.bob.sync())["next_batch"]
    for number in range(5):
        assert await chat.say(chat.alice, f"before {number}")
    small_disk.fill()
    refused = await until_refused(lambda n: chat.alice.put(
        path("rooms", chat.room, "send", "m.room.message", f"large {n}"), {"msgtype": "m.text", "body": LARGE}
    ))  # fmt: skip
    assert refused, "there was no end to the disk"
    newcomer = Client(node.http, "late", "cn")
    asked = await node.http.request("POST", "/register", {"username": "late", "password": "x" * 12})
    body = {"username": "late", "password": "x" * 12, "hutong.region": "cn"}
    body["auth"] = {"type": "m.login.dummy", "session": asked.body["session"]}  # type: ignore[assignment]
    must_be_retryable(await newcomer.request("POST", "/register", body))

    # What needs no room goes on: reading, and the other regions among themselves.
    assert [text for text in await chat.alice.texts(chat.room) if len(text) < 100] == list(chat.acknowledged)
    elsewhere = await chat.bob.create_room(preset="public_chat")
    await chat.carol.join(elsewhere)
    await chat.carol.sees(elsewhere, await chat.bob.send(elsewhere, "here there is room"))
    await chat.say(chat.carol, "from abroad, into the full one")  # it may fit in, or must be refused for now

    # Now the write-ahead log: without room for that PostgreSQL ends itself, and cannot start again.
    await exhaust_log(node, chat)
    must_be_retryable(await chat.alice.put(path("rooms", chat.room, "send", "m.room.message", "gone"), {"body": "x"}))
    await chat.carol.sees(elsewhere, await chat.bob.send(elsewhere, "here there is room still"))

    small_disk.empty()
    async with asyncio.timeout(30):
        await chat.until_it_works()
    await chat.send_again()
    await newcomer.register()
    await newcomer.join(chat.room)
    await chat.check()
    await goes_on_from(chat.bob, since, chat.room, set(chat.acknowledged.values()))
    one_line_of_each(node)


async def exhaust_log(node: NodeProcess, chat: Chat) -> None:
    """Use up the segments that PostgreSQL has in store, until it ends over it."""
    pid = postmaster(node, "cn")
    async with asyncio.timeout(30):
        while _running(pid):
            try:
                admin = await asyncpg.connect(EmbeddedPostgres(node.data / "cn" / "postgres").admin_dsn("cell0"))
                try:
                    await admin.execute("SELECT pg_switch_wal()")
                finally:
                    await admin.close()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await asyncio.sleep(0.05)
            await chat.say(chat.alice, f"into the last segment {len(chat.open)} {len(chat.acknowledged)}")


async def until_refused(send: Callable[[int], object]) -> bool:
    """Send until it is refused for now. Returns whether it ever was."""
    for number in range(5_000):
        answer = await send(number)  # type: ignore[misc]
        if answer.status != 200:
            must_be_retryable(answer)
            return True
    return False
