"""Sends that others read, and a past that is filled in, against the pretended server."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from bench.load.across import Across
from bench.load.commands import Places
from bench.load.filling import EVENTS_OF_A_ROOM, GROUP, Filling
from bench.load.wire import Refused
from bench.servers.filled import fingerprint
from tests.unit.bench.pretended import Kept, pretended, silent

WINDOW_S = 0.1
READERS = 2


async def across(faults: Callable[[int, bytes], bytes] | None = None, *, drain_s: float = 5.0) -> Kept:
    async with pretended(faults) as (target, _):
        places = Places(senders=target.port, rooms=target.port, readers=target.port)
        world = await Across.prepare(target, "a", places, 2, 4, READERS, silent, drain_s=drain_s)
        kept = Kept()
        for _ in range(2):
            await world.measure(WINDOW_S, kept)
        return kept


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.across.WARM_S", 0.02)


async def test_sends_are_counted_when_all_readers_have_read_them() -> None:
    kept = await across()
    assert kept.heard == ["opened 4", "closed", "ended"] * 2
    for result in kept.results:
        assert result.operations > 0
        assert (result.missing, result.duplicates, result.errors) == (0, 0, 0)


async def test_a_reader_who_is_not_told_is_noticed() -> None:
    def lose_one(wake: int, events: bytes) -> bytes:
        return b"" if wake == 9 else events

    first, second = (await across(lose_one, drain_s=0.2)).results
    assert first.missing > 0
    assert (first.duplicates, second.missing, second.duplicates) == (0, 0, 0)


async def test_a_reader_who_is_told_twice_is_noticed() -> None:
    def double_one(wake: int, events: bytes) -> bytes:
        return events + b"," + events if wake == 9 else events

    first, second = (await across(double_one)).results
    assert first.duplicates > 0
    assert (first.missing, second.missing, second.duplicates) == (0, 0, 0)


@pytest.mark.parametrize(("accounts", "rooms"), [(GROUP * 3, 3), (GROUP * 3 + 1, 4)])
async def test_a_past_has_so_many_accounts_in_small_rooms_and_so_many_events(accounts: int, rooms: int) -> None:
    messages = 5
    async with pretended() as (target, trivial):
        heard: list[int] = []
        events = rooms * (EVENTS_OF_A_ROOM + messages)
        await Filling(target, "a", accounts, events, lambda what, done, total: heard.append(done), at_once=2).run()
        assert sum(map(len, trivial.members.values())) == accounts
        assert [len(said) for said in trivial.events.values()] == [messages] * rooms
        assert heard[-1] == events


def no(transport: asyncio.Transport, *_: bytes) -> None:
    transport.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}")


async def test_a_past_waits_for_a_server_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.filling.RETRY_S", 0.01)
    async with pretended() as (target, trivial):
        answer, asked = trivial.answer, count()

        def busy(transport: asyncio.Transport, *request: bytes) -> None:
            if next(asked) % 2:
                answer(transport, *request)
            else:
                transport.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}")

        monkeypatch.setattr(trivial, "answer", busy)
        events = EVENTS_OF_A_ROOM + 3
        await Filling(target, "a", GROUP, events, silent, at_once=1).run()
        assert [len(said) for said in trivial.events.values()] == [3]
        assert sum(map(len, trivial.members.values())) == GROUP


async def test_a_past_that_is_refused_is_no_past(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pretended() as (target, trivial):
        monkeypatch.setattr(trivial, "answer", no)
        with pytest.raises(ExceptionGroup) as failed:
            await Filling(target, "a", GROUP, 0, silent, at_once=2).run()
        assert failed.group_contains(Refused, match="register .* was answered 403")


def test_a_past_is_made_anew_when_the_tables_change(tmp_path: Path) -> None:
    (tmp_path / "0001_baseline.sql").write_text("CREATE TABLE one ()")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (tmp_path / "0002_more.sql").write_text("CREATE TABLE two ()")
    more = fingerprint(tmp_path)
    (tmp_path / "0002_more.sql").write_text("CREATE TABLE three ()")
    assert len({before, more, fingerprint(tmp_path)}) == 3
