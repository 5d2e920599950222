"""What a first sync costs somebody who is invited: one statement for what they see of each room."""

from hutong.node import Node
from tests.conftest import Newcomer
from tests.costs.counting import counted
from tests.support.client import Client


async def test_each_waiting_invitation_costs_one_statement(node: Node, alice: Client, newcomer: Newcomer) -> None:
    async def reads(rooms: int) -> int:
        guest = await newcomer("guest", "cn")
        for number in range(rooms):
            await alice.invite(await alice.create_room(name=f"room {number}", topic="tea"), guest)
        await (await guest.another_device()).sync()
        device = await guest.another_device()
        async with counted(node) as costs:
            invited = (await device.sync())["rooms"]["invite"]
        assert len(invited) == rooms
        for told in invited.values():
            state = [event["type"] for event in told["invite_state"]["events"]]
            assert state[0] == "m.room.create"
            assert {"m.room.name", "m.room.topic", "m.room.join_rules"} < set(state)
            members = [
                event["state_key"] for event in told["invite_state"]["events"] if event["type"] == "m.room.member"
            ]
            assert members == [alice.user_id, guest.user_id], "who is invited comes last"
        return len(costs.reads)

    assert await reads(6) - await reads(1) == 5
