"""People of three regions who go on talking while something breaks, and what must be true of their room afterwards."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp

from tests.support.client import Answer, Client, Refused
from tests.support.process import NodeProcess

PAUSE_S = 0.05


def must_be_retryable(answer: Answer) -> None:
    """What a client is told of a fault: a status, a code, a sentence, and when to come back."""
    assert answer.status == 503, answer
    assert answer.errcode == "M_UNKNOWN", answer
    assert int(answer.headers["Retry-After"]) >= 1, answer
    assert answer.body["retry_after_ms"] > 0, answer


class Chat:
    """Alice of cn and carol of ru in a room of cn that bob of eu reads; it remembers what was sent and acknowledged."""

    def __init__(self, alice: Client, bob: Client, carol: Client, room: str) -> None:
        self.alice, self.bob, self.carol, self.room = alice, bob, carol, room
        self.acknowledged: dict[str, str] = {}
        self.open: list[tuple[Client, str]] = []

    @classmethod
    async def start(cls, node: NodeProcess) -> "Chat":
        alice, bob, carol = [
            await node.register(name, region) for name, region in (("alice", "cn"), ("bob", "eu"), ("carol", "ru"))
        ]
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        await carol.join(room)
        return cls(alice, bob, carol, room)

    @property
    def people(self) -> tuple[Client, Client, Client]:
        return self.alice, self.bob, self.carol

    async def say(self, person: Client, text: str) -> bool:
        """Send `text` under a transaction id of that name. Returns whether it was acknowledged.

        Raises: AssertionError when it was refused in another way than for a while.
        """
        self.open.append((person, text))
        try:
            await self._send(person, text)
        except Refused as refusal:
            must_be_retryable(refusal.answer)
            return False
        except (aiohttp.ClientError, ConnectionError):
            return False
        self.open.remove((person, text))
        return True

    async def _send(self, person: Client, text: str) -> None:
        content = {"msgtype": "m.text", "body": text}
        self.acknowledged[text] = await person.send_event(self.room, "m.room.message", content, text)

    async def go_on_during(self, fault: Callable[[], Awaitable[object]]) -> None:
        """Everybody speaks before, while and until after `fault` happens; what fails is sent again at the end."""
        over = asyncio.Event()

        async def talk(person: Client) -> None:
            number = 0
            while not over.is_set():
                await self.say(person, f"{person.region}/{number}/{len(self.acknowledged)}")
                number += 1
                await asyncio.sleep(PAUSE_S / 10)

        talking = [asyncio.create_task(talk(person)) for person in self.people for _ in range(2)]
        try:
            await self.some_more()
            await fault()
            async with asyncio.timeout(60):
                await self.until_it_works()
        finally:
            over.set()
        await asyncio.gather(*talking)
        await self.send_again()

    async def some_more(self, count: int = 30) -> None:
        """Wait until so many more were acknowledged."""
        enough = len(self.acknowledged) + count
        while len(self.acknowledged) < enough:
            await asyncio.sleep(PAUSE_S)

    async def until_it_works(self) -> None:
        """Wait until everybody can speak again."""
        for person in self.people:
            number = 0
            while not await self.say(person, f"{person.region} again {number} {len(self.acknowledged)}"):
                number += 1
                await asyncio.sleep(PAUSE_S)

    async def send_again(self) -> None:
        """What any client does after an error: the same transaction. Now it must succeed."""
        for person, text in self.open:
            await self._send(person, text)
        self.open.clear()

    async def check(self) -> None:
        """Everything acknowledged is there once, under the id that was answered, for everybody, in one order."""
        last = await self.alice.send_event(self.room, "org.example.mark", {})
        orders = []
        for person in self.people:
            await person.sees(self.room, last)
            events = await person.history(self.room, page=1_000)
            ids = {event["content"]["body"]: event["event_id"] for event in events if "body" in event["content"]}
            counts = Counter(event["content"]["body"] for event in events if "body" in event["content"])
            assert [text for text, count in counts.items() if count > 1] == []
            lost = {text for text, event_id in self.acknowledged.items() if ids.get(text) != event_id}
            assert lost == set(), f"{person.name} misses {lost}"
            orders.append([event["event_id"] for event in events])
        assert orders[0] == orders[1] == orders[2]
