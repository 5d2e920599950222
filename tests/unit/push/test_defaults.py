"""One look at an event against the rules themselves, and the counts that follow from it against counting one by one."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hutong.cells.codes import MAIN_THREAD, Loud, ReceiptType
from hutong.cells.records import Envelope, Record, Words
from hutong.cells.unread_reads import MAIN as MAIN_LINE
from hutong.cells.unread_reads import Line, Named, UnreadRow
from hutong.ids import MemberRef, Seq
from hutong.push.defaults import NAMED_MAX, effect_of
from hutong.sync import unread
from tests.support.push_reference import MAIN, ME, Counted, Read, Said, count, judge, line_of
from tests.unit.sync.people import ALICE, BOB, envelope, receipt, record

TYPES = (
    "m.room.message", "m.room.encrypted", "m.call.invite", "m.reaction", "m.room.member", "m.room.tombstone",
    "m.room.server_acl", "m.room.topic", "m.poll.start", "org.example.own", "M.Room.Message", "m.room.message2",
)  # fmt: skip
SENDERS = (ME, "@bob:eu.localhost", "@carol:ru.localhost")

mentions: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.just({}),
    st.just("everybody"),
    st.fixed_dictionaries(
        {},
        optional={
            "room": st.sampled_from([True, False, 1, "true", None]),
            "user_ids": st.sampled_from([[ME], [SENDERS[1]], [SENDERS[2], ME, ME], ME, [ME.upper()], [[ME]], [], [5]]),
        },
    ),
)


@st.composite
def said(draw: st.DrawFn, index: int) -> Said:
    content: dict[str, Any] = {}
    msgtype = draw(st.sampled_from([None, "m.text", "m.notice", "M.NOTICE", 5]))
    if msgtype is not None:
        content["msgtype"] = msgtype
    mention = draw(mentions)
    if mention is not None:
        content["m.mentions"] = mention
    relates = None
    if index and draw(st.booleans()):
        rel_type = draw(st.sampled_from(["m.thread", "m.thread", "m.annotation", "m.replace", "m.reference", "x.y"]))
        relates = (rel_type, draw(st.integers(0, index - 1)))
    return Said(
        sender=draw(st.sampled_from(SENDERS)),
        type=draw(st.sampled_from(TYPES)),
        content=content,
        state_key=draw(st.sampled_from([None, None, None, "", "key"])),
        relates=relates,
        sender_may_notify=draw(st.booleans()),
    )


@st.composite
def timelines(draw: st.DrawFn) -> list[Said | Read]:
    steps: list[Said | Read] = []
    events: list[Said] = []
    for _ in range(draw(st.integers(1, 14))):
        if events and draw(st.integers(0, 3)) == 0:
            index = draw(st.integers(0, len(events) - 1))
            steps.append(Read(index, draw(st.sampled_from([None, line_of(events, index)]))))
        else:
            events.append(draw(said(len(events))))
            steps.append(events[-1])
    return steps


def loud_of(event: Said) -> int:
    """As the room's home decides it."""
    effect = effect_of(event.type, event.state_key, event.json["content"])
    if effect.mentions_room and event.sender_may_notify:
        return Loud.NOTIFIES | Loud.SHOUTS
    return Loud.NOTIFIES | Loud.SHOUTS if effect.loud & Loud.SHOUTS else effect.loud


@given(said(0))
@example(Said(SENDERS[1], "m.reaction", {"m.mentions": {"room": True}}, sender_may_notify=True))
@example(Said(SENDERS[1], "m.room.message", {"msgtype": "m.notice", "m.mentions": {"user_ids": [ME]}}))
@example(Said(SENDERS[1], "m.room.tombstone", {}, state_key=""))
def test_one_look_at_an_event_says_what_the_rules_say(event: Said) -> None:
    effect, loud = effect_of(event.type, event.state_key, event.json["content"]), loud_of(event)
    named = bool(loud & Loud.NAMES) and ME in effect.named
    assert judge(event, ME) == (bool(loud & Loud.NOTIFIES) or named, bool(loud & Loud.SHOUTS) or named)


def env_of(events: list[Said], index: int) -> Envelope:
    event, line = events[index], line_of(events, index)
    made = envelope(index + 1, sender=ALICE if event.sender == ME else MemberRef(BOB + SENDERS.index(event.sender)))
    thread = None if line == MAIN else Seq(int(line) + 1)
    return Envelope(
        **{name: getattr(made, name) for name in made.__struct_fields__ if name not in {"thread", "loud"}},
        thread=thread,
        loud=loud_of(event),
    )


def by_tables(events: list[Said], counted: Counted, steps: list[Said | Read]) -> UnreadRow:
    """What the tables would say: the counts without what names the reader, and that apart."""
    named = []
    for index, event in enumerate(events):
        alone = count([*(step if step is event else _hushed(step) for step in steps)])
        loud = loud_of(event)
        if loud & Loud.NAMES and ME in effect_of(event.type, event.state_key, event.json["content"]).named:
            line = line_of(events, index)
            if alone.highlights[line]:
                named.append(Named(Seq(index + 1), _number(line), bool(loud & Loud.NOTIFIES)))
    lines: dict[int, Line] = {}
    for line in {MAIN, *counted.notifications}:
        mine = [mention for mention in named if mention.line == _number(line)]
        notes = counted.notifications[line] - sum(not mention.noted for mention in mine)
        base = max(_read_upto(events, steps, line), _read_upto(events, steps, None))
        shouts = counted.highlights[line] - len(mine)
        lines[_number(line)] = Line(Seq(base), notes, shouts, Seq(len(events)))
    return UnreadRow(Seq(_read_upto(events, steps, None)), lines, tuple(named))


def _hushed(step: Said | Read) -> Said | Read:
    """The same event, of which nobody is told."""
    if isinstance(step, Read):
        return step
    return Said(step.sender, "org.example.hushed", {}, step.state_key, step.relates)


def _read_upto(events: list[Said], steps: list[Said | Read], line: str | int | None) -> int:
    reads = [step.index + 1 for step in steps if isinstance(step, Read) and step.thread == line]
    own = [n + 1 for n, event in enumerate(events) if line == line_of(events, n) and event.sender == ME]
    return max([*reads, *own], default=0)


def _number(line: str | int) -> int:
    return MAIN_LINE if line == MAIN else int(line) + 1


def record_of(events: list[Said], step: Said | Read) -> Record:
    if isinstance(step, Read):
        thread = 0 if step.thread is None else MAIN_THREAD if step.thread == MAIN else int(step.thread) + 1
        return receipt(1_000, ALICE, step.index + 1, ReceiptType.READ, thread)
    made = record(1)
    made.event = type(made.event)(pos=made.pos, env=env_of(events, len(events) - 1))  # type: ignore[misc]
    made.words = Words(0, step.type, None, str(step.content).encode())
    return made


@given(timelines())
def test_counts_are_those_of_counting_one_by_one(steps: list[Said | Read]) -> None:
    row, events = UnreadRow(Seq(0), {MAIN_LINE: Line(Seq(0))}), []
    for n, step in enumerate(steps):
        if isinstance(step, Said):
            events.append(step)
        expected = count(steps[: n + 1])
        now = unread.rolled(row, [record_of(events, step)], ALICE, ME)
        row = by_tables(events, expected, list(steps[: n + 1])) if now is None else now
        counted = unread.counts(row)
        assert (counted.notifications, counted.highlights) == expected.total
        assert {
            MAIN if line == MAIN_LINE else line - 1: (found.notifications, found.highlights)
            for line, found in unread.by_line(row).items()
        } == expected.by_line


@pytest.mark.parametrize("many", [NAMED_MAX, NAMED_MAX + 1])
def test_so_many_can_be_named(many: int) -> None:
    named = [f"@p{n}:eu.localhost" for n in range(many)]
    assert effect_of("m.room.message", None, {"m.mentions": {"user_ids": named}}).named == tuple(named[:NAMED_MAX])
