"""Who may see what was said when. Client-Server API v1.19, "Room history visibility"."""

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, refused

SEEN_AFTER_LEAVING = {
    "world_readable": ["outside", "invited", "inside"],
    "shared": ["outside", "invited", "inside"],
    "invited": ["invited", "inside"],
    "joined": ["inside"],
}
SEEN_ONCE_BACK = {
    "world_readable": ["outside", "invited", "inside", "left", "back"],
    "shared": ["outside", "invited", "inside", "left", "back"],
    "invited": ["invited", "inside", "back"],
    "joined": ["inside", "back"],
}


class Visit:
    """Alice talks in a private room of hers while a visitor is invited, comes, goes, and comes back."""

    def __init__(self, alice: Client, visitor: Client, room: str) -> None:
        self.alice, self.visitor, self.room = alice, visitor, room
        self.said: dict[str, str] = {}

    async def say(self, text: str) -> None:
        self.said[text] = await self.alice.send(self.room, text)

    async def come(self) -> None:
        await self.alice.invite(self.room, self.visitor)
        await self.visitor.until(lambda: self.room in self.visitor.invitations, "the invitation")
        await self.say("invited" if "invited" not in self.said else "invited again")
        await self.visitor.join(self.room)

    async def sees(self) -> list[str]:
        """What the visitor sees in pages either way; what is said of single events must agree."""
        backwards = await self.visitor.history(self.room, "b")
        texts = [event["content"]["body"] for event in reversed(backwards) if "body" in event["content"]]
        assert await self.visitor.texts(self.room) == texts
        for text, event_id in self.said.items():
            if text in texts:
                assert (await self.visitor.event(self.room, event_id))["content"]["body"] == text
            else:
                with refused("M_NOT_FOUND", status=404):
                    await self.visitor.event(self.room, event_id)
        return [text for text in texts if text != "invited again"]


@pytest.mark.parametrize("region", ["cn", "ru"])
@pytest.mark.parametrize("visibility", SEEN_ONCE_BACK)
async def test_a_visitor_sees_what_the_room_lets_them(
    alice: Client, newcomer: Newcomer, region: str, visibility: str
) -> None:
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
    visit = Visit(
        alice, await newcomer("vera", region), await alice.create_room(preset="private_chat", initial_state=state)
    )
    await visit.say("outside")
    await visit.come()
    await visit.say("inside")
    await visit.visitor.sees(visit.room, visit.said["inside"])
    await visit.visitor.leave(visit.room)
    await visit.say("left")
    assert await visit.sees() == SEEN_AFTER_LEAVING[visibility]
    await visit.come()
    await visit.say("back")
    await visit.visitor.sees(visit.room, visit.said["back"])
    assert await visit.sees() == SEEN_ONCE_BACK[visibility]


@pytest.mark.parametrize("region", ["cn", "ru"])
async def test_who_is_kicked_banned_or_only_invited_sees_no_more(
    alice: Client, newcomer: Newcomer, region: str
) -> None:
    visit = Visit(alice, await newcomer("vera", region), await alice.create_room(preset="private_chat"))
    await alice.invite(visit.room, visit.visitor)
    await visit.visitor.until(lambda: visit.room in visit.visitor.invitations, "the invitation")
    with refused("M_FORBIDDEN", status=403):
        await visit.visitor.messages(visit.room)
    with refused("M_FORBIDDEN", status=403):
        await visit.visitor.all_state(visit.room)
    with refused("M_FORBIDDEN", status=403):
        await visit.visitor.members(visit.room)
    await visit.visitor.join(visit.room)
    await visit.say("inside")
    await visit.visitor.sees(visit.room, visit.said["inside"])
    own, out = ("m.room.member", visit.visitor.user_id), "leave" if region == "cn" else "ban"
    await (alice.kick if out == "leave" else alice.ban)(visit.room, visit.visitor)
    await visit.say("without her")
    await visit.visitor.until(lambda: visit.visitor.state[visit.room][own]["content"]["membership"] == out, "the end")
    assert await visit.sees() == ["inside"]
    await alice.set_state(visit.room, "m.room.topic", {"topic": "a secret"})
    with refused("M_NOT_FOUND", status=404):
        await visit.visitor.get_state(visit.room, "m.room.topic")
    with refused("M_FORBIDDEN", status=403):
        await visit.visitor.joined_members(visit.room)
