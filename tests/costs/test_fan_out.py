"""What a message costs that many wait for: once what all share, per reader only what is theirs."""

import asyncio

from hutong.node import Node
from tests.costs.counting import CN, Costs, counted
from tests.costs.operations import MANY
from tests.costs.scene import Scene, all_waiting

LINES_BESIDE = 0.05
"""How much the lines may differ where the work is the same: a timer that goes off meanwhile, a sweep."""


async def deliver_to(node: Node, scene: Scene, readers: int, *, messages: int = 1) -> Costs:
    """Messages to members of `room` who wait, until all of them have all."""
    people = scene.members[1 : readers + 1]
    assert len(people) == readers
    async with all_waiting(node, people) as polls, counted(node, trace=True) as costs:
        await asyncio.gather(*(scene.writer.send(scene.room, f"hello {number}") for number in range(messages)))
        for body in await asyncio.gather(*polls):
            assert scene.room in body["rooms"]["join"]
    return costs


async def test_a_message_is_rendered_once_for_all_who_wait_and_costs_none_of_them_a_statement(
    node: Node, crowd: Scene
) -> None:
    few, many = 4, 48
    for readers in (few, many):
        await deliver_to(node, crowd, readers)
        costs = await deliver_to(node, crowd, readers)
        assert not costs.reads, costs
        assert costs.commits == {CN: 1}, costs
        assert sum(costs.rows.values()) == 4, costs
        once, each = {"sealed": 1, "rendered": 1}, dict.fromkeys(("looks", "assembled"), readers)
        assert {name: costs.calls[name] for name in (*once, "opened", *each)} == {**once, "opened": 0, **each}, costs


async def test_a_delivery_runs_as_many_lines_in_a_crowd_as_among_few(node: Node, crowd: Scene) -> None:
    few, many, most = [await deliver_to(node, crowd, readers) for readers in (4, 24, 44)]
    first, second = many.lines - few.lines, most.lines - many.lines
    assert second <= first * (1 + LINES_BESIDE), f"20 more readers take {first} lines, and 20 more {second}"


async def test_what_comes_during_a_commit_goes_into_the_next(node: Node, crowd: Scene) -> None:
    """64 sends at once: a commit for the first, one for those that came meanwhile, and perhaps for late ones."""
    people = (crowd.members * 2)[:MANY]
    await asyncio.gather(*(person.send(crowd.room, "hello") for person in people[:32]))
    await asyncio.gather(*(person.send(crowd.room, "hello") for person in people[32:]))
    async with counted(node) as costs:
        await asyncio.gather(*(person.send(crowd.room, f"hello {number}") for number, person in enumerate(people)))
    assert costs.commits[CN] <= 4, costs
    assert len(costs.writes) == costs.commits[CN], "a commit is one statement"
    assert not costs.reads, costs
    assert costs.rows == {"events": MANY, "content": MANY, "txns": MANY, "log": costs.commits[CN]}
    assert costs.calls["sealed"] == MANY


FOLLOWING = ("cells/", "engines/databases.py", "outage.py", "node.py")
"""Now and then a cell asks the others whether it has missed something, and its own database whether it is there."""


async def test_who_waits_costs_nothing_while_nothing_happens(node: Node, crowd: Scene) -> None:
    async with all_waiting(node, crowd.members[:40]), counted(node, trace=True) as costs:
        await asyncio.sleep(1.0)  # what is counted is what happens in a second
    assert not costs.reads, costs
    assert not costs.writes, costs
    assert not costs.calls, costs
    waiting = {where: count for where, count in costs.lines_in.items() if not where.startswith(FOLLOWING)}
    assert not waiting
