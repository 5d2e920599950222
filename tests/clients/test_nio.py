"""matrix-nio, a client that nobody here wrote, lives on a node: everything an ordinary chat needs."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import nio
import pytest

from tests.support.client import PASSWORD
from tests.support.openapi import Contract

if TYPE_CHECKING:
    from hutong.node import Node

R = TypeVar("R", bound=nio.Response)
DEADLINE_S = 15.0
REGIONS = ("cn", "eu", "ru")


class CheckedClient(nio.AsyncClient):  # type: ignore[misc]
    """nio's client, with every answer held against the specification."""

    contract: Contract | None = None

    async def send(self, method: str, path: str, *args: Any, **more: Any) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await super().send(method, path, *args, **more)
        body = await response.json() if response.content_type == "application/json" else None
        if self.contract is not None:
            self.contract.check(method, path.partition("?")[0], response.status, body)
        return response


def ok(response: nio.Response, kind: type[R]) -> R:
    assert isinstance(response, kind), response
    return response


async def until(client: nio.AsyncClient, condition: Callable[[], Any], what: str) -> None:
    """Sync until `condition` holds."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                ok(await client.sync(timeout=1_000), nio.SyncResponse)
    except TimeoutError:
        raise AssertionError(f"{client.user_id} waited {DEADLINE_S:.0f} s for {what}") from None


Device = Callable[..., Awaitable[CheckedClient]]


@pytest.fixture
async def device(node: "Node", contract: Contract | None) -> AsyncIterator[Device]:
    """A client at a region's own address: `await device("ru")`; with a user id, one more device of that person."""
    async with AsyncExitStack() as closing:

        async def signed_in(region: str, user_id: str | None = None) -> CheckedClient:
            client = CheckedClient(node.region_url(region), user_id or "", config=nio.AsyncClientConfig(max_timeouts=2))
            client.contract = contract
            closing.push_async_callback(client.close)
            if user_id is None:
                name = f"nio{next(NUMBERS)}"
                ok(await client.register(name, PASSWORD, "first"), nio.RegisterResponse)
            else:
                ok(await client.login(PASSWORD, "second"), nio.LoginResponse)
            return client

        yield signed_in


NUMBERS = itertools.count(1)


async def talk(client: nio.AsyncClient, room: str, content: dict[str, Any], type: str = "m.room.message") -> str:
    return str(ok(await client.room_send(room, type, content), nio.RoomSendResponse).event_id)


async def test_the_region_comes_from_the_address(device: Device) -> None:
    for region in REGIONS:
        client = await device(region)
        assert client.user_id.endswith(f":{region}.localhost")
        who = ok(await client.whoami(), nio.WhoamiResponse)
        assert (who.user_id, who.device_id) == (client.user_id, client.device_id)


async def test_a_chat_across_three_regions(device: Device) -> None:
    alice, bob, carol = [await device(region) for region in REGIONS]
    created = await alice.room_create(name="Courtyard", topic="persimmons", invite=[bob.user_id, carol.user_id])
    room = ok(created, nio.RoomCreateResponse).room_id
    for guest in (bob, carol):
        await until(guest, lambda guest=guest: room in guest.invited_rooms, "the invitation")  # type: ignore[misc]
        assert guest.invited_rooms[room].inviter == alice.user_id
        ok(await guest.join(room), nio.JoinResponse)

    heard: dict[str, list[nio.Event]] = {}
    for client in (alice, bob, carol):
        await until(client, lambda client=client: room in client.rooms, "the room")  # type: ignore[misc]

        def hear(
            _: nio.MatrixRoom, event: nio.Event, ears: list[nio.Event] = heard.setdefault(client.user_id, [])
        ) -> None:
            ears.append(event)

        client.add_event_callback(hear, (nio.RoomMessage, nio.ReactionEvent, nio.RedactionEvent, nio.UnknownEvent))
    assert bob.rooms[room].display_name == "Courtyard"
    assert bob.rooms[room].topic == "persimmons"

    said = await talk(carol, room, {"msgtype": "m.text", "body": "чай?"})
    reply = {"msgtype": "m.text", "body": "茶!", "m.relates_to": {"m.in_reply_to": {"event_id": said}}}
    replied = await talk(alice, room, reply)
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": replied, "key": "🍵"}}
    reacted = await talk(bob, room, reaction, "m.reaction")
    corrected = {"msgtype": "m.text", "body": "чай с вареньем?"}
    edit = {
        "msgtype": "m.text",
        "body": "* чай с вареньем?",
        "m.new_content": corrected,
        "m.relates_to": {"rel_type": "m.replace", "event_id": said},
    }
    edited = await talk(carol, room, edit)
    slip = await talk(bob, room, {"msgtype": "m.text", "body": "wrong room"})
    for client in (alice, bob, carol):  # before it is taken back: redacted, it is no RoomMessage
        await until(client, lambda ears=heard[client.user_id]: slip in {each.event_id for each in ears}, "the slip")  # type: ignore[misc]
    taken_back = ok(await bob.room_redact(room, slip, "wrong room"), nio.RoomRedactResponse).event_id

    expected = [said, replied, reacted, edited, slip, taken_back]
    for client in (alice, bob, carol):
        ears = heard[client.user_id]
        await until(client, lambda ears=ears: taken_back in {event.event_id for event in ears}, "the redaction")  # type: ignore[misc]
        assert [event.event_id for event in ears] == expected
        reading = {event.event_id: event for event in ears}
        assert reading[said].body == "чай?"
        assert reading[replied].source["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == said
        assert (reading[reacted].reacts_to, reading[reacted].key) == (replied, "🍵")
        assert reading[edited].source["content"]["m.new_content"] == corrected
        assert reading[taken_back].redacts == slip
        event = ok(await client.room_get_event(room, slip), nio.RoomGetEventResponse).event
        assert isinstance(event, nio.RedactedEvent)
        assert event.redacter == bob.user_id


async def test_paging_back_reads_the_whole_room_once(device: Device) -> None:
    alice, carol = await device("cn"), await device("ru")
    room = ok(await alice.room_create(preset=nio.RoomPreset.public_chat), nio.RoomCreateResponse).room_id
    sent = [await talk(alice, room, {"msgtype": "m.text", "body": str(n)}) for n in range(35)]
    ok(await carol.join(room), nio.JoinResponse)
    synced = ok(await carol.sync(), nio.SyncResponse)
    token = synced.rooms.join[room].timeline.prev_batch
    told = ok(await carol.room_messages(room, limit=5), nio.RoomMessagesResponse)
    read = [event.event_id for event in told.chunk]
    while told.end and told.chunk:
        told = ok(await carol.room_messages(room, start=told.end, limit=5), nio.RoomMessagesResponse)
        read += [event.event_id for event in told.chunk]
    assert [event_id for event_id in read[::-1] if event_id in set(sent)] == sent
    assert len(read) == len(set(read))
    before = ok(await carol.room_messages(room, start=token, limit=100), nio.RoomMessagesResponse)
    assert set(read) > {event.event_id for event in before.chunk}


async def test_two_devices_of_one_person_stay_together(device: Device) -> None:
    alice, bob = await device("cn"), await device("eu")
    second = await device("eu", bob.user_id)
    assert second.device_id != bob.device_id
    names = {each.id: each.display_name for each in ok(await bob.devices(), nio.DevicesResponse).devices}
    assert names == {bob.device_id: "first", second.device_id: "second"}
    room = ok(await alice.room_create(invite=[bob.user_id]), nio.RoomCreateResponse).room_id
    await until(second, lambda: room in second.invited_rooms, "the invitation on the second device")
    ok(await bob.join(room), nio.JoinResponse)
    heard: list[str] = []
    second.add_event_callback(lambda _, event: heard.append(event.event_id), nio.RoomMessage)
    sent = [await talk(each, room, {"msgtype": "m.text", "body": "hi"}) for each in (alice, bob, second)]
    await until(second, lambda: set(sent) <= set(heard), "what everybody said")
    assert heard == sent
    ok(await bob.logout(), nio.LogoutResponse)
    ok(await second.sync(), nio.SyncResponse)
    assert isinstance(await second.whoami(), nio.WhoamiResponse)


async def test_typing_receipts_and_names(device: Device) -> None:
    alice, bob = await device("cn"), await device("eu")
    ok(await bob.set_displayname("Боб"), nio.ProfileSetDisplayNameResponse)
    name = ok(await alice.get_displayname(bob.user_id), nio.ProfileGetDisplayNameResponse)
    assert name.displayname == "Боб"
    room = ok(await alice.room_create(preset=nio.RoomPreset.public_chat), nio.RoomCreateResponse).room_id
    ok(await bob.join(room), nio.JoinResponse)
    await until(alice, lambda: room in alice.rooms and bob.user_id in alice.rooms[room].users, "bob")
    assert alice.rooms[room].user_name(bob.user_id) == "Боб"
    said = await talk(alice, room, {"msgtype": "m.text", "body": "hi"})
    ok(await bob.room_typing(room, typing_state=True), nio.RoomTypingResponse)
    await until(alice, lambda: alice.rooms[room].typing_users == [bob.user_id], "bob typing")
    ok(await bob.update_receipt_marker(room, said), nio.UpdateReceiptMarkerResponse)
    receipts = alice.rooms[room].threaded_read_receipts  # nio marks the main timeline as a thread of that name
    await until(alice, lambda: bob.user_id in receipts, "bob's receipt")
    assert receipts[bob.user_id]["main"].event_id == said


async def test_leaving_and_forgetting(device: Device) -> None:
    alice, bob = await device("cn"), await device("eu")
    room = ok(await alice.room_create(preset=nio.RoomPreset.public_chat), nio.RoomCreateResponse).room_id
    ok(await bob.join(room), nio.JoinResponse)
    await until(bob, lambda: room in bob.rooms, "the room")
    ok(await bob.room_leave(room), nio.RoomLeaveResponse)
    ok(await bob.room_forget(room), nio.RoomForgetResponse)
    joined = ok(await bob.joined_rooms(), nio.JoinedRoomsResponse)
    assert room not in joined.rooms
    assert bob.user_id not in {
        each.user_id for each in ok(await alice.joined_members(room), nio.JoinedMembersResponse).members
    }


async def test_a_room_is_found_by_its_alias(device: Device) -> None:
    alice, bob = await device("cn"), await device("eu")
    name = f"lane-of-{alice.user_id[1:].partition(':')[0]}"
    made = await alice.room_create(
        alias=name, visibility=nio.RoomVisibility.public, preset=nio.RoomPreset.public_chat, name="Lane"
    )
    room = ok(made, nio.RoomCreateResponse).room_id
    found = ok(await bob.room_resolve_alias(f"#{name}:cn.localhost"), nio.RoomResolveAliasResponse)
    assert (found.room_id, found.servers) == (room, ["cn.localhost"])
    assert ok(await bob.join(f"#{name}:cn.localhost"), nio.JoinResponse).room_id == room
    await until(bob, lambda: room in bob.rooms, "the room")
    assert bob.rooms[room].canonical_alias == f"#{name}:cn.localhost"
    shown = ok(await alice.room_get_visibility(room), nio.RoomGetVisibilityResponse)
    assert shown.visibility == "public"
    other = f"#{name}-too:eu.localhost"
    ok(await bob.room_put_alias(other, room), nio.RoomPutAliasResponse)
    assert ok(await alice.room_resolve_alias(other), nio.RoomResolveAliasResponse).room_id == room
    ok(await bob.room_delete_alias(other), nio.RoomDeleteAliasResponse)
    assert isinstance(await alice.room_resolve_alias(other), nio.RoomResolveAliasError)
