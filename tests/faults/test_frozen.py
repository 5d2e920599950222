"""A database that neither answers nor ends: it is noticed without any traffic, and it comes back by itself."""

import asyncio
from collections.abc import Callable

import psutil

from tests.support.process import NodeProcess

NOTICED_S = 14.0
"""docs/cut-regions.md and docs/operate.md say: about twelve."""


async def until(holds: Callable[[], bool], within_s: float, node: NodeProcess) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:.0f} s:\n{node.output}") from None


async def test_a_database_that_hangs_is_noticed_without_traffic(node_process: NodeProcess) -> None:
    node = await node_process.start()
    frozen = [server for server in node.postgres() if server.cwd().endswith("/cn/postgres")]
    assert len(frozen) > 5
    problems: list[str] = []

    async def asked() -> None:
        """As a load balancer asks, and nobody else does anything."""
        while True:
            async with node.session.get(f"{node.base_url}/health/ready") as response:
                problems[:] = (await response.json()).get("problems", [])
            await asyncio.sleep(0.5)

    asking = asyncio.create_task(asked())
    try:
        for server in frozen:
            server.suspend()
        cuts = [f"cell {other}: cell 256 does not answer; it is cut off" for other in (512, 768)]
        await until(lambda: all(cut in node.output for cut in cuts), NOTICED_S, node)
        await until(lambda: problems == ["the database of cell 256 does not answer"], 1, node)
        assert node.output.count("cell 256: its database does not answer") == 1
    finally:
        for server in frozen:
            try:
                server.resume()
            except psutil.NoSuchProcess:
                continue
    backs = [f"cell {other}: cell 256 answers again" for other in (512, 768)]
    await until(lambda: problems == [] and all(back in node.output for back in backs), 10, node)
    asking.cancel()
    assert "Traceback" not in node.output
    person = await node.register("alice", "cn")
    room = await person.create_room()
    await person.send(room, "here again")
    assert await person.texts(room) == ["here again"]
