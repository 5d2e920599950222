"""The first sentence of hutong: from a person in ru, into a room homed in cn, read in eu."""

from tests.support.client import Client


async def test_bob_in_eu_reads_what_carol_in_ru_wrote_into_a_room_of_cn(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    said = await carol.send(lane, "доброе утро")
    read = await bob.sees(lane, said)
    assert read["content"] == {"msgtype": "m.text", "body": "доброе утро"}
    assert read["sender"] == carol.user_id
    assert carol.user_id.endswith(":ru.localhost")
    assert (await alice.sees(lane, said))["content"] == read["content"]
    assert (await carol.sees(lane, said))["content"] == read["content"]


async def test_every_region_reads_every_region(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    people = (alice, bob, carol)
    said = [await person.send(lane, f"from {person.region}") for person in people for _ in range(2)]
    for person in people:
        for event_id in said:
            await person.sees(lane, event_id)
        assert (await person.texts(lane)) == ["from cn"] * 2 + ["from eu"] * 2 + ["from ru"] * 2


async def test_the_order_is_the_same_for_everybody(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    last = [await person.send(lane, f"{n} {person.region}") for n in range(5) for person in (alice, bob, carol)][-1]
    for person in (alice, bob, carol):
        await person.sees(lane, last)
    orders = [[event["event_id"] for event in await person.history(lane)] for person in (alice, bob, carol)]
    assert orders[0] == orders[1] == orders[2]


async def test_a_reply_comes_back_over_the_lane(bob: Client, carol: Client, lane: str) -> None:
    asked = await carol.send(lane, "tea?")
    await bob.sees(lane, asked)
    answered = await bob.send(lane, "tea!", **{"m.relates_to": {"m.in_reply_to": {"event_id": asked}}})
    read = await carol.sees(lane, answered)
    assert read["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": asked}}


async def test_a_node_serves_each_region_on_its_own_port_too(alice: Client, bob: Client, lane: str) -> None:
    base, port = alice.http.base_url.rsplit(":", 1)
    for offset in (1, 2, 3):
        async with alice.http.session.get(f"{base}:{int(port) + offset}/_matrix/client/versions") as answer:
            assert answer.status == 200
            assert "v1.11" in (await answer.json())["versions"]
