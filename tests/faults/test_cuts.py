"""A region is cut off, and comes back: what a person sees meanwhile, and that nothing is missing afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from hutong.cells.records import Leaving
from hutong.ids import CellNo, event_id_bytes
from tests.conftest import Newcomer
from tests.support.client import Client, Json, ageless, path, refused
from tests.support.ways import CN, EU, RU, Ways, forget_words

if TYPE_CHECKING:
    from hutong.node import Node


async def talk(room: str, *said: tuple[Client, str], listeners: tuple[Client, ...]) -> list[str]:
    """Each one speaks after everybody has heard the one before."""
    events = []
    for speaker, text in said:
        events.append(await speaker.send(room, text))
        for listener in listeners:
            await listener.sees(room, events[-1])
    return events


def bodies(told: Json, room: str) -> list[str]:
    events = told["rooms"]["join"][room]["timeline"]["events"]
    return [event["content"]["body"] for event in events if "body" in event["content"]]


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(15):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def test_what_is_cut_off_is_left_out_and_told_when_it_is_back(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    everybody = (alice, bob, await carol.another_device())
    await carol.poll()
    said = await talk(lane, (alice, "1 cn"), (bob, "2 eu"), (alice, "3 cn"), listeners=everybody)
    await ways.cut_and_noticed(EU)
    forget_words(node, "ru")
    body = await carol.sync(carol.since)
    timeline = body["rooms"]["join"][lane]["timeline"]
    assert (bodies(body, lane), timeline["limited"]) == (["1 cn", "3 cn"], True)
    assert "rooms" not in await carol.sync(body["next_batch"]), "nobody is held up at what is left out"
    page = await carol.messages(lane, "b", limit=3)
    assert [event["content"]["body"] for event in page["chunk"]] == ["3 cn", "1 cn"]
    with refused("M_UNKNOWN", "eu", status=503):
        await carol.event(lane, said[1])
    await ways.healed()
    anew = await carol.sync(body["next_batch"])
    assert bodies(anew, lane) == ["1 cn", "2 eu", "3 cn"]
    assert anew["rooms"]["join"][lane]["timeline"]["limited"]
    assert "rooms" not in await carol.sync(anew["next_batch"]), "once is enough"


async def test_a_receipt_of_somebody_cut_off_is_told_when_they_are_back(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    [said] = await talk(lane, (alice, "read me"), listeners=(bob, carol))
    await bob.mark_read(lane, said)
    await talk(lane, (alice, "afterwards"), listeners=(await carol.another_device(),))
    await ways.cut_and_noticed(EU)
    forget_words(node, "ru")
    body = await carol.sync(carol.since)
    assert bodies(body, lane) == ["afterwards"]
    assert bob.user_id not in str(body["rooms"]["join"][lane].get("ephemeral"))
    await ways.healed()
    [read] = (await carol.sync(body["next_batch"]))["rooms"]["join"][lane]["ephemeral"]["events"]
    assert bob.user_id in read["content"][said]["m.read"]


async def test_a_client_that_polls_on_is_told_anew_without_asking(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    await talk(lane, (alice, "1 cn"), (bob, "2 eu"), listeners=(alice, carol))
    await ways.cut_and_noticed(EU)
    forget_words(node, "ru")
    first = await carol.sync()
    assert bodies(first, lane) == ["1 cn"]
    waiting = asyncio.create_task(carol.sync(first["next_batch"], timeout=20_000))
    await asyncio.sleep(0)
    ways.heal()
    assert bodies(await waiting, lane) == ["1 cn", "2 eu"]


async def test_nobody_is_told_anew_who_was_told_everything(
    alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    await talk(lane, (alice, "1 cn"), (bob, "2 eu"), listeners=(alice, bob, carol))
    await ways.cut_and_noticed(EU)
    assert "rooms" not in await carol.sync(carol.since)
    await ways.healed()
    assert "rooms" not in await carol.sync(carol.since)


async def test_a_client_that_came_during_a_cut_gets_state_and_words_afterwards(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    await alice.set_state(lane, "m.room.topic", {"topic": "noodles"})
    await talk(lane, (alice, "1 cn"), (bob, "2 eu"), listeners=(bob, carol))
    await ways.cut_and_noticed(CN)
    forget_words(node, "eu")
    newly = await bob.another_device()
    await newly.poll()
    assert ("m.room.topic", "") not in newly.state[lane]
    assert newly.membership(lane) == "join"
    assert newly.membership(lane, alice) == ""
    await ways.healed()
    await newly.poll()
    assert newly.state[lane]["m.room.topic", ""]["content"] == {"topic": "noodles"}
    assert newly.membership(lane, alice) == "join"
    held = {key: ageless(event)["event_id"] for key, event in newly.state[lane].items()}
    assert held == {key: event["event_id"] for key, event in (await bob.all_state(lane)).items()}


async def test_an_invitation_during_a_cut_is_whole_afterwards(
    alice: Client, bob: Client, node: "Node", ways: Ways
) -> None:
    room = await alice.create_room(name="Tea house", invite=[bob.user_id])
    await bob.until(lambda: room in bob.invitations, "the invitation")
    await ways.cut_and_noticed(CN)
    forget_words(node, "eu")
    newly = await bob.another_device()
    await newly.poll()
    assert newly.invitations.get(room, []) == []
    await ways.healed()
    await newly.poll()
    assert {event["type"] for event in newly.invitations[room]} >= {"m.room.name", "m.room.member"}


@pytest.mark.parametrize("noticed", [True, False])
async def test_leaving_holds_during_a_cut_and_is_told_afterwards(
    alice: Client, bob: Client, carol: Client, lane: str, ways: Ways, noticed: bool
) -> None:
    other = await carol.another_device()
    await carol.poll()
    await other.poll()
    await alice.until(lambda: alice.membership(lane, carol) == "join", "carol")
    if noticed:
        await ways.cut_and_noticed(CN)
    else:
        ways.cut_off(CN)
    await carol.leave(lane, reason="the kettle")
    assert lane not in await carol.joined_rooms()
    left = (await carol.poll())["rooms"]["leave"][lane]["timeline"]["events"]
    assert [event["content"] for event in left] == [{"membership": "leave", "reason": "the kettle"}]
    assert (await other.poll())["rooms"]["leave"][lane]["timeline"]["events"][0]["event_id"] == left[0]["event_id"]
    assert lane not in (await carol.sync()).get("rooms", {}).get("join", {})
    with refused("M_FORBIDDEN"):
        await carol.send(lane, "I am not here")
    assert (await alice.get_state(lane, "m.room.member", carol.user_id))["membership"] == "join"
    ways.heal()
    for person in (alice, bob):
        await person.until(
            lambda person=person: person.membership(lane, carol) == "leave",  # type: ignore[misc]
            "carol's leaving",
        )
        event = person.state[lane]["m.room.member", carol.user_id]
        assert (event["event_id"], event["content"]) == (left[0]["event_id"], left[0]["content"])
    await carol.until(lambda: len(carol.timeline[lane]) > 1, "the leaving as the room's home has it")
    assert await carol.members(lane) == await alice.members(lane)


async def test_declining_holds_during_a_cut(alice: Client, carol: Client, ways: Ways) -> None:
    room = await alice.create_room(invite=[carol.user_id])
    await carol.until(lambda: room in carol.invitations, "the invitation")
    await ways.cut_and_noticed(CN)
    await carol.leave(room)
    assert room in (await carol.poll())["rooms"]["leave"]
    assert room not in (await carol.sync()).get("rooms", {}).get("invite", {})
    await carol.forget(room)
    ways.heal()
    await alice.until(lambda: alice.membership(room, carol) == "leave", "the declining")


async def test_who_leaves_during_a_cut_can_come_back_after_it(
    alice: Client, carol: Client, lane: str, ways: Ways
) -> None:
    await ways.cut_and_noticed(CN)
    await carol.leave(lane)
    with refused("M_UNKNOWN", "cn", status=503):
        await carol.join(lane)
    await ways.healed()
    await carol.join(lane)
    mark = await carol.send(lane, "back again")
    await alice.sees(lane, mark)
    moves = [e["content"]["membership"] for e in alice.timeline[lane] if e.get("state_key") == carol.user_id]
    assert moves[-3:] == ["join", "leave", "join"]
    assert lane in await carol.joined_rooms()


async def test_a_leaving_gives_way_to_what_the_room_has_decided_meanwhile(
    alice: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    """Put out and invited again while nobody knew that she had left: the invitation stands."""
    await alice.until(lambda: alice.membership(lane, carol) == "join", "carol")
    await ways.cut_and_noticed(CN)
    await carol.leave(lane)
    await alice.kick(lane, carol)
    await alice.invite(lane, carol)
    await ways.healed()
    await carol.until(lambda: lane in carol.invitations, "the invitation")
    await eventually(lambda: settled(node, RU), "the leaving to be given up")
    assert await alice.get_state(lane, "m.room.member", carol.user_id) == {"membership": "invite"}
    await carol.accept(lane)


async def test_a_leaving_outlives_what_was_said_before_it_and_comes_late(
    alice: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    """Carol gives herself a new name; neither answer nor bell comes back before the cut. She leaves, and that holds."""
    await alice.until(lambda: alice.membership(lane, carol) == "join", "carol")
    ways.one(CN, RU, cut=True)  # no bell
    ways.one(RU, CN, lose_replies=1)
    renaming = {"membership": "join", "displayname": "Caroline"}
    answer = await carol.put(path("rooms", lane, "state", "m.room.member", carol.user_id), renaming)
    assert answer.status == 503
    await ways.cut_and_noticed(CN)
    await carol.leave(lane)
    await ways.healed()
    await alice.until(lambda: alice.membership(lane, carol) == "leave", "carol's leaving")
    named = [event["content"].get("displayname") for event in alice.timeline[lane] if event.get("state_key")]
    assert "Caroline" in named, "what she said before is there too"
    await eventually(lambda: settled(node, RU), "everything to be settled")
    assert lane not in await carol.joined_rooms()
    assert (await alice.get_state(lane, "m.room.member", carol.user_id))["membership"] == "leave"


@pytest.mark.parametrize("invited", [False, True])
async def test_a_leaving_outlives_another_one_who_comes_back_first(
    newcomer: Newcomer, alice: Client, carol: Client, node: "Node", ways: Ways, invited: bool
) -> None:
    """Who comes back makes ru's copy anew, from before the room has heard of any leaving."""
    dave = await newcomer("dave", "ru")
    room = await alice.create_room(preset="public_chat")
    for person in (dave,) if invited else (dave, carol):
        await person.join(room)
    if invited:
        await alice.invite(room, carol)
        await carol.until(lambda: room in carol.invitations, "the invitation")
    await alice.sees(room, await dave.send(room, "all are here"))
    await ways.cut_and_noticed(CN)
    await carol.leave(room)
    await dave.leave(room)
    ru = node.cells[CellNo(RU)]
    owed, ru.settling._reads = ru.settling._reads, Nothing()  # type: ignore[assignment]
    try:
        await ways.healed()
        ru.settling._reads = owed
        async with ru.settling.deciding.about((await leaving_of(node, carol, room)).event_id):
            await dave.join(room)
            await dave.sees(room, await dave.send(room, "back"))
    finally:
        ru.settling._reads = owed
    await alice.until(lambda: alice.membership(room, carol) == "leave", "carol's leaving")
    assert (await alice.get_state(room, "m.room.member", carol.user_id))["membership"] == "leave"
    assert room not in await carol.joined_rooms()
    await carol.join(room)
    await carol.sees(room, await carol.send(room, "back as well"))


class Nothing:
    """What `Settling` finds to do while something else must come first."""

    async def unsettled(self) -> list[object]:
        return []


async def leaving_of(node: "Node", person: Client, room: str) -> Leaving:
    slices = node.slices[CellNo(RU)]
    who = await slices.accounts.sessions.resolve(person.token)
    number = slices.cell.view.room_no(room)
    assert number is not None
    return (await slices.cell.reads.leaving(who.account))[number]


async def settled(node: "Node", cell: int) -> bool:
    return not await node.cells[CellNo(cell)].reads.unsettled()


async def test_what_needs_the_region_that_is_away_says_so_at_once(
    alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    await ways.cut_and_noticed(CN)
    async with asyncio.timeout(2):
        for asked in (
            carol.put(path("rooms", lane, "send", "m.room.message", "t"), {"msgtype": "m.text", "body": "x"}),
            carol.put(path("rooms", lane, "state", "m.room.topic"), {"topic": "x"}),
            carol.post(path("rooms", lane, "invite"), {"user_id": bob.user_id}),
            carol.get(path("profile", alice.user_id)),
            carol.post(path("join", "!AAAAAAAAAAAAAAAAAAAAAA:cn.localhost")),
        ):
            answer = await asked
            assert (answer.status, answer.body.get("hutong.region")) == (503, "cn"), answer
            assert int(answer.headers["Retry-After"]) >= 1


async def test_a_moderator_abroad_redacts_during_a_cut_what_only_its_author_has(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    """The author's region has no member left and is cut off: the words go when it hears of it."""
    [said] = await talk(lane, (carol, "take this back"), listeners=(alice, bob))
    await carol.leave(lane)
    await alice.until(lambda: alice.membership(lane, carol) == "leave", "carol's leaving")
    levels = await alice.get_state(lane, "m.room.power_levels")
    await alice.set_state(lane, "m.room.power_levels", {**levels, "users": {**levels["users"], bob.user_id: 50}})
    await ways.cut_and_noticed(RU)
    await bob.redact(lane, said)
    assert (await bob.event(lane, said))["content"] == {}
    raw = event_id_bytes(said)
    assert raw is not None
    reads = node.cells[CellNo(RU)].reads
    assert await reads.contents([raw])

    async def gone() -> bool:
        return not await reads.contents([raw])

    await ways.healed()
    await eventually(gone, "the words' end")


async def test_an_invitation_by_somebody_within_reach_is_whole_afterwards(
    alice: Client, bob: Client, carol: Client, ways: Ways
) -> None:
    """Who invites is known; what the room is called, only its home can say."""
    room = await alice.create_room(name="Tea house", preset="public_chat", power_level_content_override={"invite": 0})
    await bob.join(room)
    await bob.invite(room, carol)
    await carol.until(lambda: room in carol.invitations, "the invitation")
    await ways.cut_and_noticed(CN)
    newly = await carol.another_device()
    await newly.poll()
    assert {event["type"] for event in newly.invitations[room]} == {"m.room.member"}
    await ways.healed()
    await newly.poll()
    assert {event["type"] for event in newly.invitations[room]} >= {"m.room.name", "m.room.member"}


async def test_a_leaving_holds_when_somebody_else_comes_before_it_is_heard_of(
    alice: Client, carol: Client, lane: str, newcomer: Newcomer, node: "Node", ways: Ways
) -> None:
    """The newcomer's region gets the room anew from its home, in which she who left still is."""
    dave = await newcomer("dave", "ru")
    await alice.until(lambda: alice.membership(lane, carol) == "join", "carol")
    await ways.cut_and_noticed(CN)
    await carol.leave(lane)
    cell = node.cells[CellNo(RU)]
    [(event_id, *_)] = await cell.reads.unsettled()
    async with cell.settling.deciding.about(event_id):
        await ways.healed()
        await dave.join(lane)
        await dave.sees(lane, await dave.send(lane, "hello"))
        assert lane not in await carol.joined_rooms()
    cell.settling.due()
    await alice.until(lambda: alice.membership(lane, carol) == "leave", "carol's leaving")
    assert lane not in await carol.joined_rooms()


async def test_who_was_put_out_and_came_back_unheard_of_misses_nothing_of_between(
    alice: Client, carol: Client, lane: str, ways: Ways
) -> None:
    """Her region hears of both at once, and of nothing that was said meanwhile: it takes the room anew."""
    await alice.until(lambda: alice.membership(lane, carol) == "join", "carol")
    ways.one(CN, RU, cut=True)
    await alice.kick(lane, carol)
    said = await alice.send(lane, "while she is out")
    await carol.join(lane, reason="I was not done")
    ways.heal()
    mark = await carol.send(lane, "the end")
    await alice.sees(lane, mark)
    ids = [event["event_id"] for event in await alice.history(lane)]
    assert said in ids
    assert [event["event_id"] for event in await carol.history(lane)] == ids
