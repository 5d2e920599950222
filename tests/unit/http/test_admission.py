"""What may begin, and what is refused: by kind, by share, by time."""

import pytest

from hutong.config import Limits
from hutong.errors import LimitExceeded, MatrixError, Unavailable
from hutong.http.admission import (
    CALLER_MIN,
    FLOOR,
    JUDGE_S,
    LAG_S_MAX,
    REFUSAL_WAIT_S_MAX,
    REFUSALS_PER_TICK,
    TICK_S,
    Admission,
    Kind,
    kind_of,
    token_of,
)
from hutong.http.failures import retry_after

LIMITS = Limits(reads_max=200, writes_max=400, heavy_max=40, passwords_max=20, answer_seconds_max=2.0)
CLIENT = b"/_matrix/client/v3/"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(LIMITS, clock)


def pass_time(admission: Admission, clock: Clock, seconds: float, lag_s: float = 0.0) -> None:
    until = clock.now + seconds
    while clock.now < until:
        clock.now += TICK_S + lag_s
        admission.tick()


def fill(admission: Admission, kind: Kind, token: bytes = b"") -> int:
    """Begin as many as may, and say how many that were."""
    count = 0
    while admission.admit(kind, token) is None:
        count += 1
    return count


def end(admission: Admission, kind: Kind, count: int, token: bytes = b"") -> None:
    for _ in range(count):
        admission.done(kind, token)


@pytest.mark.parametrize(
    ("kind", "request_line"),
    [
        (Kind.ALWAYS, "GET /health/ready"),
        (Kind.ALWAYS, "GET /_matrix/client/versions"),
        (Kind.ALWAYS, "POST /_matrix/client/v3/logout"),
        (Kind.ALWAYS, "POST /_matrix/client/v3/logout/all"),
        (Kind.ALWAYS, "OPTIONS /_matrix/client/v3/rooms/x/messages"),
        (Kind.POLL, "GET /_matrix/client/v3/sync?since=h1.1.2.3.4&timeout=30000"),
        (Kind.POLL, "GET /_matrix/client/v3/sync?timeout=30000&since=h1.1.2.3.4"),
        (Kind.HEAVY, "GET /_matrix/client/v3/sync"),
        (Kind.HEAVY, "GET /_matrix/client/v3/sync?since="),
        (Kind.HEAVY, "GET /_matrix/client/v3/sync?notsince=h1.1.2.3.4"),
        (Kind.HEAVY, "GET /_matrix/client/v3/sync?since=h1.1.2.3.4&full_state=true"),
        (Kind.HEAVY, "GET /_matrix/client/v3/rooms/%21x/messages?dir=b"),
        (Kind.HEAVY, "GET /_matrix/client/v3/rooms/%21x/members"),
        (Kind.HEAVY, "GET /_matrix/client/v3/rooms/%21x/context/%24y"),
        (Kind.HEAVY, "GET /_matrix/client/v1/rooms/%21x/relations/%24y/m.thread"),
        (Kind.HEAVY, "POST /_matrix/client/v3/user_directory/search"),
        (Kind.READ, "GET /_matrix/client/v3/account/whoami"),
        (Kind.READ, "HEAD /_matrix/client/v3/account/whoami"),
        (Kind.READ, "GET /_matrix/client/v3/login"),
        (Kind.WRITE, "PUT /_matrix/client/v3/rooms/%21x/send/m.room.message/1"),
        (Kind.WRITE, "POST /_matrix/client/v3/createRoom"),
        (Kind.WRITE, "DELETE /_matrix/client/v3/directory/room/%23x"),
        (Kind.PASSWORD, "POST /_matrix/client/v3/login"),
        (Kind.PASSWORD, "POST /_matrix/client/v3/register"),
        (Kind.PASSWORD, "POST /_matrix/client/v3/account/password"),
        (Kind.PASSWORD, "POST /_matrix/client/v3/account/deactivate"),
    ],
)
def test_the_kind_of_a_request(kind: Kind, request_line: str) -> None:
    method, _, target = request_line.partition(" ")
    path, _, query = target.partition("?")
    assert kind_of(method, path.encode(), query.encode()) is kind


def test_the_token_of_a_request() -> None:
    assert token_of([(b"host", b"x"), (b"authorization", b"bearer h.ru.0.abc")]) == b"h.ru.0.abc"
    assert token_of([(b"authorization", b"Basic abc")]) == b""
    assert token_of([(b"host", b"x")]) == b""


def test_each_kind_has_its_own_room(admission: Admission) -> None:
    assert fill(admission, Kind.HEAVY) == 40
    assert fill(admission, Kind.PASSWORD) == 20
    assert fill(admission, Kind.READ) == 200
    assert fill(admission, Kind.WRITE) == 400
    end(admission, Kind.HEAVY, 1)
    assert fill(admission, Kind.HEAVY) == 1
    assert admission.at_work() == {Kind.HEAVY: 40, Kind.PASSWORD: 20, Kind.READ: 200, Kind.WRITE: 400}


@pytest.mark.parametrize("kind", [Kind.ALWAYS, Kind.POLL])
def test_who_waits_and_who_asks_whether_anybody_is_there_is_never_refused(admission: Admission, kind: Kind) -> None:
    for other in (Kind.READ, Kind.WRITE, Kind.HEAVY, Kind.PASSWORD):
        fill(admission, other)
    assert all(admission.admit(kind, b"h.ru.0.a") is None for _ in range(10_000))
    admission.done(kind, b"h.ru.0.a")


def refusal(admission: Admission, kind: Kind, token: bytes = b"") -> MatrixError:
    found = admission.admit(kind, token)
    assert found is not None, "it was let in"
    return found


def test_a_refusal_says_when_to_come_back_and_not_to_all_the_same(admission: Admission) -> None:
    fill(admission, Kind.READ)
    told = [refusal(admission, Kind.READ) for _ in range(10)]
    assert {type(error) for error in told} == {Unavailable}
    seconds = [int(retry_after(error) or 0) for error in told]
    assert min(seconds) >= 1
    assert len(set(seconds)) > 2


def test_one_caller_has_a_share_while_others_want_something(admission: Admission) -> None:
    greedy, other = b"h.cn.0.greedy", b"h.cn.0.other"
    alone = fill(admission, Kind.WRITE, greedy)
    assert alone == 200, "half of everything, while nobody else is there"
    assert isinstance(refusal(admission, Kind.WRITE, greedy), LimitExceeded)
    assert admission.admit(Kind.WRITE, other) is None
    end(admission, Kind.WRITE, alone - CALLER_MIN + 1, token=greedy)
    assert admission.admit(Kind.WRITE, greedy) is None


def test_one_home_cannot_take_all_from_the_others(clock: Clock) -> None:
    admission = Admission(LIMITS, clock, homes=3)
    stuck = [b"h.cn.0.%d" % number for number in range(1_000)]
    assert sum(admission.admit(Kind.WRITE, token) is None for token in stuck) == 200
    assert isinstance(refusal(admission, Kind.WRITE, b"h.cn.0.more"), Unavailable)
    assert admission.admit(Kind.WRITE, b"h.ru.0.a") is None


def test_of_who_was_at_work_nothing_is_remembered(admission: Admission) -> None:
    for number in range(100):
        token = b"h.cn.0.%d" % number
        assert admission.admit(Kind.READ, token) is None
        admission.done(Kind.READ, token)
    assert not admission._work[Kind.READ].holders


def test_what_would_be_answered_too_late_is_not_let_in_and_later_it_is(admission: Admission, clock: Clock) -> None:
    per_judgement = 6  # 24 in a second: that is 48 within the time that an answer may take
    for _ in range(100):
        fill(admission, Kind.WRITE)
        end(admission, Kind.WRITE, per_judgement)
        pass_time(admission, clock, JUDGE_S)
    assert admission.limit(Kind.WRITE) == FLOOR[Kind.WRITE]
    assert admission.limit(Kind.READ) == LIMITS.reads_max
    end(admission, Kind.WRITE, admission.at_work()[Kind.WRITE])
    began = clock.now
    while admission.limit(Kind.WRITE) < LIMITS.writes_max:
        end(admission, Kind.WRITE, fill(admission, Kind.WRITE))
        pass_time(admission, clock, JUDGE_S)
    assert clock.now - began < 5


def test_what_is_slow_alone_is_no_overload(admission: Admission, clock: Clock) -> None:
    """Those that wait for a region that is slow."""
    for _ in range(LIMITS.writes_max // 3):
        assert admission.admit(Kind.WRITE, b"") is None
    pass_time(admission, clock, 60)
    assert admission.limit(Kind.WRITE) == LIMITS.writes_max


def test_a_loop_that_is_always_late_lets_fewer_in_of_every_kind(admission: Admission, clock: Clock) -> None:
    pass_time(admission, clock, 10, lag_s=LAG_S_MAX * 2)
    assert {kind: admission.limit(kind) for kind in admission.at_work()} == {**FLOOR, Kind.PASSWORD: 16}
    assert admission.lag_s == pytest.approx(LAG_S_MAX * 2)


def test_being_late_now_and_then_is_no_overload(admission: Admission, clock: Clock) -> None:
    for _ in range(10):
        pass_time(admission, clock, JUDGE_S / 2, lag_s=LAG_S_MAX * 2)
        pass_time(admission, clock, JUDGE_S / 2)
    assert admission.limit(Kind.WRITE) == LIMITS.writes_max


def test_few_refusals_are_said_at_once_and_many_a_little_later(admission: Admission, clock: Clock) -> None:
    said: list[int] = []
    for number in range(1_000):
        admission.say(lambda number=number: said.append(number))  # type: ignore[misc]
    assert len(said) == REFUSALS_PER_TICK
    pass_time(admission, clock, TICK_S)
    assert len(said) == 2 * REFUSALS_PER_TICK
    pass_time(admission, clock, REFUSAL_WAIT_S_MAX)
    assert said == list(range(1_000)), "each once, in turn"


def test_however_many_are_refused_nobody_waits_long_for_it(admission: Admission, clock: Clock) -> None:
    said: list[float] = []
    for _ in range(100_000):
        admission.say(lambda: said.append(clock.now))
    began = clock.now
    while len(said) < 100_000:
        pass_time(admission, clock, TICK_S)
    # What is left is said at a share of itself per tick: slower and slower, down to REFUSALS_PER_TICK.
    assert clock.now - began < 5 * REFUSAL_WAIT_S_MAX


def test_it_is_counted(admission: Admission) -> None:
    fill(admission, Kind.READ)
    fill(admission, Kind.WRITE, b"h.cn.0.greedy")
    assert {(kind.value, reason.value): count for (kind, reason), count in admission.refused.items()} == {
        ("read", "full"): 1,
        ("write", "share"): 1,
    }
