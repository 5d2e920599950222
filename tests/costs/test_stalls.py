"""Nobody who waits is held up by many who register. Measured in processor time of the event loop's own thread, against
what the avoided work takes on the same machine, so that neither its speed nor what else it does matters.
"""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from hutong.accounts.passwords import Passwords
from hutong.config import Passwords as Cost
from hutong.engines.process import GC_THRESHOLDS, processors
from hutong.node import Node
from hutong.vault.disk import Disk
from tests.conftest import Newcomer
from tests.costs.scene import few_at_once
from tests.support.client import Client, Http
from tests.support.process import NodeProcess

NEWCOMERS = 12
"""Each registers and logs in once more: two hashes."""


@dataclass
class Steps:
    """Of one event loop. `longest_s`: processor time between two looks at what is due."""

    longest_s: float = 0.0
    what: str = ""


@contextmanager
def steps_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    steps, run, loop_thread = Steps(), asyncio.Handle._run, threading.get_ident()

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        run(handle)
        took = time.thread_time() - before
        if took > steps.longest_s and threading.get_ident() == loop_thread:
            steps.longest_s, steps.what = took, str(handle)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield steps


async def test_a_sync_is_not_held_up_by_a_burst_of_registrations(
    node: Node, newcomer: Newcomer, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost, quick = Cost(), replace(http, contract=None)  # the test shares the loop, and should take little of it
    hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1)
    before = time.thread_time()
    hasher.hash("what one hash takes")
    hash_s = time.thread_time() - before
    monkeypatch.setattr(node._passwords, "_hasher", hasher)
    threads = set[int]()
    write = Disk.write_atomically

    def written(disk: Disk, *file: Any) -> None:
        threads.add(threading.get_ident())
        write(disk, *file)

    monkeypatch.setattr(Disk, "write_atomically", written)
    waits, says = await newcomer("waits", "cn"), await newcomer("says", "cn")
    room = await says.create_room(preset="public_chat")
    await waits.join(room)

    async def come(number: int) -> None:
        person = await Client(quick, f"{waits.name}.{number}", "cn").register()
        await person.another_device()

    with steps_of_the_loop(monkeypatch) as steps:
        burst = asyncio.create_task(few_at_once(come(number) for number in range(NEWCOMERS)))
        heard = 0
        while not burst.done():
            await waits.sees(room, await says.send(room, "hello"))
            heard += 1
        await burst
    assert heard > 1, "what is said meanwhile is heard"
    assert steps.longest_s < hash_s / 2, f"a hash takes {hash_s:.4f} s, and {steps.what} took {steps.longest_s:.4f} s"
    assert threads, "keys were written"
    assert threading.get_ident() not in threads, "a flush of the keystore must not stop the loop"


async def test_hashing_leaves_a_processor_to_everybody_else() -> None:
    passwords = Passwords(Cost(memory_kib=1_024, passes=1))
    threads, hashed = set[int](), passwords._hasher.hash

    def noted(password: str) -> str:
        threads.add(threading.get_ident())
        return hashed(password)

    class Hasher:
        hash = staticmethod(noted)

    passwords._hasher = Hasher()  # type: ignore[assignment]
    try:
        await asyncio.gather(*(passwords.hash("a long password") for _ in range(20)))
    finally:
        passwords.close()
    assert 1 <= len(threads) <= max(1, processors() - 1)
    assert threading.get_ident() not in threads


GROWTH = """
import gc, time
from hutong.engines.process import shorten_pauses
shorten_pauses()
began, longest, generations = 0.0, 0.0, set()
def on_collection(phase, info):
    global began, longest
    if phase == "start":
        began = time.thread_time()
    else:
        longest = max(longest, time.thread_time() - began)
        generations.add(info["generation"])
gc.callbacks.append(on_collection)
kept = [{"of": [number]} for number in range(400_000)]
gc.callbacks.clear()
before = time.thread_time()
gc.collect()
print(longest, time.thread_time() - before, max(generations))
"""


def test_a_growing_node_is_not_walked_through_again_and_again() -> None:
    printed = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, timeout=60)
    longest_s, all_s, oldest = map(float, printed.stdout.split())
    assert longest_s < all_s / 4, "a pause is a part of what it takes to walk through everything"
    assert oldest == 1, "the middle generation was collected, the oldest was not"


SERVE = """
import gc, sys
from hutong.commands import serve
greet = serve._greet
def tell(*node):
    print("frozen", gc.get_freeze_count() > 10_000, "thresholds", gc.get_threshold(), flush=True)
    greet(*node)
serve._greet = tell
from hutong.cli import main
sys.argv.insert(1, "serve")
main()
"""


async def test_a_node_that_serves_has_its_pauses_shortened(node_process: NodeProcess, tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    node_process.command = (sys.executable, script)
    await node_process.start()
    async with asyncio.timeout(20):
        while "thresholds" not in node_process.output:
            await asyncio.sleep(0.05)
    assert f"frozen True thresholds {GC_THRESHOLDS}" in node_process.output
    assert gc.get_threshold() != GC_THRESHOLDS, "that of this process is another one"
