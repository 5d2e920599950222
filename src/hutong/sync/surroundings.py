"""What is told with the events of a sync: what stood before them, and what relates to them."""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Protocol, TypeVar

from msgspec import structs

from hutong.cells.relation_reads import RelationReads
from hutong.cells.relations import Eyes, Place, bundled
from hutong.cells.sync_reads import SyncReads
from hutong.rooms import unsigned
from hutong.rooms.pieces import Pieces
from hutong.rooms.show import IgnoredOf
from hutong.sync import timeline
from hutong.sync.look import Look

R = TypeVar("R")


class Once(Protocol):
    """Reads something once for all who are woken by the same step of the log."""

    async def __call__(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, R]]) -> R: ...


class Surroundings:
    def __init__(self, reads: SyncReads, relations: RelationReads, pieces: Pieces, ignored: IgnoredOf) -> None:
        self._reads = reads
        self._ignored = ignored
        self._relations = relations
        self._pieces = pieces

    async def read(self, look: Look, once: Once) -> None:
        """Find what goes with the events of `look`. `once` shares a read with all who look at the same step.

        Cost: nothing for messages that came one by one; else a statement each for what was replaced or redacted, and
        for what relates to the events of rooms with a gap; one call for the words of all that.
        """
        await self._before(look, once)
        await self._bundles(look)
        within = [*look.before.values(), *unsigned.within(look.bundles)]
        missing = [env for env in within if env.event_id not in look.pieces]
        if missing:
            pieces, _ = await self._pieces.fetch(missing)
            look.pieces |= pieces

    async def _before(self, look: Look, once: Once) -> None:
        """The events that were replaced by state in a timeline, and the redactions of what is redacted."""
        told = [event.env for news in look.news for event in news.events]
        told += [event.env for news in look.news for event in news.state if event.env.redacted_by is not None]
        places = tuple(sorted(unsigned.before(told)))
        if places:
            found = await once(("events", look.upto, places), lambda: self._reads.events_at(places))
            look.before = {place: event.env for place, event in found.items()}

    async def _bundles(self, look: Look) -> None:
        """What relates to the events of limited timelines. In others, the client is told of it anyway.

        Nothing is read for a timeline of the tail, which has everything that came later; nor for an event to which
        nothing relates in a window without gaps, for the same reason.
        Source: "Aggregations of child events".
        """
        asked = [news for news in look.news if news.limited and news.events and not news.own_only]
        parents: list[Place] = []
        readers: list[Eyes] = []
        ignored = await self._ignored([news.own.room for news in asked], look.session.account)
        for news in asked:
            eyes = structs.replace(timeline.eyes(news), ignored=ignored[news.own.room])
            if news.from_tail:
                records = look.windows[news.own.room]
                children = (record.event.env for record in records if record.event is not None)
                look.bundles |= bundled(children, eyes)
            else:
                shown = [event.env.seq for event in news.events if not event.env.is_state]
                if look.ask.filter.timeline.all:
                    related = {event.env.rel_seq for event in news.scanned}
                    shown = [seq for seq in shown if seq in related]
                if shown:
                    readers.append(eyes)
                    parents += [(news.own.room, seq) for seq in shown]
        if parents:
            look.bundles |= await self._relations.bundles(parents, readers)
