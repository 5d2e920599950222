"""Groups of ten, each in a room of its own: the world of the chat mix, and the bytes of what its members ask for."""

from dataclasses import dataclass
from urllib.parse import quote

from bench.load import matrix
from bench.load.matrix import CLIENT, Account, Progress, SendRequest, SyncRequest, Target

GROUP = 10
TYPING_MS = 30_000
NUMBER = "00000000"
"""Stands for a message's number in its text, so that all texts are equally long."""


@dataclass(frozen=True)
class Pace:
    """How a step goes. `limit_ms`: what the p99 of the deliveries must stay below."""

    limit_ms: float = 500.0
    lead_s: float = 1.0
    """Messages of the mix before the window opens; also how long somebody types before a message."""
    hopeless_s: float = 3.0
    """A step ends when a message is so late: the server does not keep up."""
    drain_s: float = 60.0


class Member:
    """One account of a group, and the bytes of what it asks for."""

    def __init__(self, account: Account, filter_id: str, since: str, room: str, place: int) -> None:
        token = account.access_token
        self.room = room
        self.place = place
        self.since = since
        self.poll = SyncRequest.of(token, filter_id)
        message = SendRequest.to(room, token, f"{NUMBER} {matrix.TEXT}")
        self._head = message.head
        self._middle, _, self._tail = message.tail.rpartition(NUMBER.encode())
        path = f"{CLIENT}/rooms/{quote(room, safe='')}"
        typing = f"{path}/typing/{quote(account.user_id, safe='')}"
        self.types = matrix.request("PUT", typing, token, {"typing": True, "timeout": TYPING_MS})
        self.stops = matrix.request("PUT", typing, token, {"typing": False})
        self._receipt = matrix.request("POST", f"{path}/receipt/m.read/EVENT", token, {}).split(b"EVENT", 1)

    def says(self, number: int) -> bytes:
        return b"%bc%d%b%08d%b" % (self._head, number, self._middle, number, self._tail)

    def has_read(self, event_id: str) -> bytes:
        before, after = self._receipt
        return before + quote(event_id, safe="").encode() + after


class Groups:
    """A prepared world: groups of members, each at its place in the stream of its sync."""

    def __init__(self, target: Target, members: list[Member], pace: Pace) -> None:
        self.target = target
        self.members = members
        self.pace = pace
        self.messages = 0
        """So many have been said."""
        self.steps = 0

    @classmethod
    async def prepare(
        cls, target: Target, prefix: str, groups: int, progress: Progress, pace: Pace | None = None
    ) -> "Groups":
        """Register the members of `groups` groups, let each group into a room of its own, and sync everybody once."""
        people = await matrix.accounts(target, [f"{prefix}{number}" for number in range(groups * GROUP)], progress)
        made = await matrix.rooms(target, people[::GROUP], progress)
        rooms = [room for room in made for _ in range(GROUP)]
        entering = [pair for number, pair in enumerate(zip(people, rooms, strict=True)) if number % GROUP]
        await matrix.joins(target, entering, progress)
        filters = await matrix.filters(target, people, progress)
        since = await matrix.initial_syncs(target, list(zip(people, filters, strict=True)), progress)
        members = [
            Member(*member, number % GROUP)
            for number, member in enumerate(zip(people, filters, since, rooms, strict=True))
        ]
        return cls(target, members, pace or Pace())
