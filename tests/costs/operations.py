"""What people do, each as something to be counted, and what it may cost.

docs/costs.md shows the same figures: who changes one here changes it there.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

from hutong.node import Node
from tests.costs.counting import Costs, counted
from tests.costs.scene import Scene, all_waiting, end_idle_sessions, say

Count = Callable[[], AbstractAsyncContextManager[Costs]]
Operation = Callable[[Node, Scene, Count], Awaitable[Costs]]
MANY, PAGE = 64, 10


@dataclass(frozen=True, kw_only=True)
class Budget:
    """`reads`: statements on a pool; `commits`: group commits of all cells; `rows` by table; `calls` and `links` as
    `counting` names them, but for "woken", which counts every device that polled lately.
    """

    reads: int = 0
    commits: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(costs: Costs) -> "Budget":
        return Budget(
            reads=len(costs.reads),
            commits=sum(costs.commits.values()),
            rows=costs.rows,
            calls={name: count for name, count in costs.calls.items() if name != "woken"},
            links=dict(costs.links),
        )


async def send(node: Node, scene: Scene, count: Count) -> Costs:
    async with count() as costs:
        await scene.writer.send(scene.room, "hello")
    return costs


async def send_abroad(node: Node, scene: Scene, count: Count) -> Costs:
    async with count() as costs:
        await scene.abroad.send(scene.lane, "hello")
    return costs


async def deliver(node: Node, scene: Scene, count: Count) -> Costs:
    """A message to one who waits, in a room of many, and in however many rooms."""
    async with all_waiting(node, [scene.reader]) as [poll], count() as costs:
        await scene.writer.send(scene.room, "hello")
        assert scene.room in (await poll)["rooms"]["join"]
    return costs


async def look_in_vain(node: Node, scene: Scene, count: Count) -> Costs:
    """A poll that ends with its time."""
    since = (await scene.reader.sync())["next_batch"]
    since = (await scene.reader.sync(since))["next_batch"]
    async with count() as costs:
        assert "rooms" not in await scene.reader.sync(since, timeout=50)
    return costs


async def page(node: Node, scene: Scene, count: Count) -> Costs:
    await say(scene.writer, scene.room, PAGE)
    await scene.reader.messages(scene.room, limit=PAGE)
    async with count() as costs:
        await scene.reader.messages(scene.room, limit=PAGE)
    return costs


async def first_sync(node: Node, scene: Scene, count: Count) -> Costs:
    """Of somebody whose rooms were shown lately, to them or to others; one of them has a receipt, and some are
    short enough to be told from before the reader came.
    """
    await scene.others[0].mark_read(scene.room, await scene.writer.send(scene.room, "read this"))
    await scene.reader.sync()
    async with count() as costs:
        body = await scene.reader.sync()
    assert len(body["rooms"]["join"]) == scene.size.rooms
    return costs


async def join(node: Node, scene: Scene, count: Count) -> Costs:
    person = await scene.newcomer("guest", "cn")
    await person.sync()
    async with count() as costs:
        await person.join(scene.room)
    await person.leave(scene.room)
    return costs


async def receipt(node: Node, scene: Scene, count: Count) -> Costs:
    said = await scene.writer.send(scene.room, "read this")
    async with count() as costs:
        await scene.reader.mark_read(scene.room, said)
    return costs


async def typing(node: Node, scene: Scene, count: Count) -> Costs:
    await scene.writer.type_in(scene.room, typing=False)
    async with all_waiting(node, [scene.reader]) as [poll], count() as costs:
        await scene.writer.type_in(scene.room)
        assert scene.room in (await poll)["rooms"]["join"]
    return costs


async def login(node: Node, scene: Scene, count: Count) -> Costs:
    async with count() as costs:
        await scene.reader.another_device()
    return costs


async def registration(node: Node, scene: Scene, count: Count) -> Costs:
    async with count() as costs:
        await scene.newcomer("guest", "cn")
    return costs


_EVENT = {"events": 1, "content": 1, "log": 1}
OPERATIONS: dict[str, tuple[Operation, Budget]] = {
    "send": (send, Budget(commits=1, rows={**_EVENT, "txns": 1}, calls={"sealed": 1})),
    "deliver": (
        deliver,
        Budget(
            commits=1, rows={**_EVENT, "txns": 1}, calls={"sealed": 1, "rendered": 1, "looks": 1, "assembled": 1}
        ),
    ),
    # Staged, numbered, taken up: the content is written as pending and turned live; `out` and `in_cursor` are the way.
    "send abroad": (
        send_abroad,
        Budget(
            commits=3, rows={"content": 2, "txns": 1, "events": 2, "log": 2, "out": 1, "in_cursor": 1},
            calls={"sealed": 1}, links={"append": 1, "push": 1},
        ),
    ),
    "receipt": (receipt, Budget(commits=1, rows={"receipts": 1, "log": 1})),
    "typing": (typing, Budget(calls={"looks": 1, "assembled": 1})),
    "look in vain": (look_in_vain, Budget()),
    "page": (page, Budget(reads=3)),
    "first sync": (first_sync, Budget(reads=4, calls={"looks": 1, "assembled": 1})),
    "join": (join, Budget(reads=2, commits=1, rows={**_EVENT, "members": 2}, calls={"sealed": 1, "opened": 1})),
    "login": (login, Budget(reads=3, rows={"devices": 1, "tokens": 1}, calls={"sealed": 1, "opened": 1})),
    # A key of one's own, in two places, each flushed twice.
    "registration": (
        registration,
        Budget(reads=5, rows={"accounts": 1, "devices": 1, "tokens": 1}, calls={"sealed": 3, "files": 2}),
    ),
}  # fmt: skip
"""With what each may cost when room, members and words have been asked for lately. Statements that write outside of a
group commit are among the reads."""


def row_of_the_page(name: str) -> str:
    """What docs/costs.md says of an operation."""
    _, budget = OPERATIONS[name]
    rows = ", ".join(f"{count} {table}" for table, count in budget.rows.items())
    calls = ", ".join(f"{count} {call}" for call, count in (*budget.calls.items(), *budget.links.items()))
    return f"| {name} | {budget.reads} | {budget.commits} | {rows or 'none'} | {calls or 'none'} |"


Measured = Mapping[str, Costs]
WARMED, MEASURED = 2, 3


async def measure(node: Node, scene: Scene, name: str) -> Costs:
    """What an operation costs that was done before, by devices that do not wait for anything else."""
    operation, _ = OPERATIONS[name]
    for _ in range(WARMED):
        await operation(node, scene, partial(counted, node))
    runs = []
    for _ in range(MEASURED):
        end_idle_sessions(node)
        runs.append(await operation(node, scene, partial(counted, node, trace=True)))
    least = runs[-1]
    for costs in runs:  # what one run has and another has not, is something else that happened meanwhile
        least.lines_in &= costs.lines_in
    return least
