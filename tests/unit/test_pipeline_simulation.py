"""Ledger → stream → cursor in memory: arbitrary interleavings, crashes, duplicates, a stream lost or rolled back.

The three stores are modelled by what they promise (compare-and-set, expected last sequence, one commit); the
decisions are the production functions. Two of each worker run at once, and may die between any two steps.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earlybird.events import FirstLogin
from earlybird.identity.model import FirstLoginCommitted, number_first_logins
from earlybird.promotions.model import Campaign, Gap, Voucher, award, next_in_order

NAMESPACE = UUID(int=7)
START = datetime(2026, 11, 1, tzinfo=UTC)
USERS = 12
CAMPAIGN = Campaign(UUID(int=1), "Launch", 30, 5, "30 % off", 30, 1, START, None)
Worker = Generator[None, None, None]


def committed(i: int) -> FirstLoginCommitted:
    return FirstLoginCommitted(uuid5(NAMESPACE, str(i)), START + timedelta(seconds=i))


@dataclass
class World:
    """What survives a crash."""

    oplog: list[FirstLoginCommitted] = field(default_factory=list)
    ledger: list[FirstLogin] = field(default_factory=list)
    read_up_to: int = 0  # the head's resume token: a place in the oplog
    stream: list[bytes] = field(default_factory=list)
    cursor: int = 0
    vouchers: list[Voucher] = field(default_factory=list)

    # What each store promises. A mutant below takes one promise away.

    def append(self, n: int, changes: list[FirstLoginCommitted], token: int) -> bool:
        if len(self.ledger) != n:
            return False
        known = {entry.user_id for entry in self.ledger}
        self.ledger += number_first_logins(n, changes, known)
        self.read_up_to = token
        return True

    def publish(self, entry: FirstLogin) -> bool:
        if len(self.stream) != entry.n - 1:
            return False
        self.stream.append(entry.to_json())
        return True

    def commit_awards(self, cursor: int, events: list[FirstLogin]) -> bool:
        if self.cursor != cursor:
            return False
        self.cursor = events[-1].n
        self.vouchers += award(CAMPAIGN, CAMPAIGN.number_of_promotion - len(self.vouchers), events)
        return True


def sequencer(world: World) -> Worker:
    while True:
        n, token = len(world.ledger), world.read_up_to
        yield
        while True:
            changes = world.oplog[token : token + 3]
            yield
            if not world.append(n, changes, token + len(changes)):
                break
            n, token = len(world.ledger), token + len(changes)
            yield


def relay(world: World) -> Worker:
    while True:
        last = len(world.stream)
        yield
        entries = world.ledger[last : last + 3]
        for entry in entries:
            yield
            if not world.publish(entry):
                break
        yield


def granter(world: World) -> Worker:
    while True:
        cursor = world.cursor
        yield
        while True:
            messages = world.stream[cursor : cursor + 3]
            yield
            try:
                events = next_in_order(cursor, [FirstLogin.from_json(message) for message in messages])
            except Gap:
                break
            if events and not world.commit_awards(cursor, events):
                break
            cursor = events[-1].n if events else cursor
            yield


WORKERS: list[Callable[[World], Worker]] = [sequencer, sequencer, relay, relay, granter, granter]
ACTIONS = [
    *[("run", len(WORKERS))] * 8,
    *[("log in", USERS)] * 3,
    ("crash", len(WORKERS)),
    ("roll the stream back to", USERS),
    ("deliver changes again from", USERS),
]
steps = st.lists(
    st.sampled_from(ACTIONS).flatmap(lambda action: st.tuples(st.just(action[0]), st.integers(0, action[1] - 1))),
    max_size=120,
)


def simulate(world: World, schedule: list[tuple[str, int]]) -> World:
    """Follow the schedule, checking what must hold at every moment; then let everything come to rest."""
    running = [start(world) for start in WORKERS]
    for action, i in schedule:
        match action:
            case "run":
                next(running[i])
            case "crash":
                running[i] = WORKERS[i](world)
            case "log in" if committed(i) not in world.oplog:
                world.oplog.append(committed(i))
            case "roll the stream back to":
                del world.stream[i:]
            case "deliver changes again from":
                world.read_up_to = min(world.read_up_to, i)
        check_at_every_moment(world)
    for _ in range(40 * USERS):
        for worker in running:
            next(worker)
    check_at_every_moment(world)
    return world


def check_at_every_moment(world: World) -> None:
    order = [change.user_id for change in world.oplog]
    assert [entry.user_id for entry in world.ledger] == order[: len(world.ledger)]
    assert [entry.n for entry in world.ledger] == list(range(1, len(world.ledger) + 1))
    assert world.stream == [entry.to_json() for entry in world.ledger[: len(world.stream)]]
    assert world.vouchers == award(CAMPAIGN, CAMPAIGN.number_of_promotion, world.ledger[: world.cursor])


@settings(max_examples=400, deadline=None)
@given(steps)
def test_every_interleaving_ends_with_the_vouchers_of_the_commit_order(schedule: list[tuple[str, int]]) -> None:
    world = simulate(World(), schedule)
    assert len(world.ledger) == len(world.stream) == world.cursor == len(world.oplog)
    winners = [change.user_id for change in world.oplog[: CAMPAIGN.number_of_promotion]]
    assert [voucher.user_id for voucher in world.vouchers] == winners


class LedgerWithoutCompareAndSet(World):
    """Mutant: whoever appends, appends."""

    def append(self, n: int, changes: list[FirstLoginCommitted], token: int) -> bool:
        known = {entry.user_id for entry in self.ledger}
        self.ledger += number_first_logins(n, changes, known)
        self.read_up_to = token
        return True


class LedgerThatForgetsWhoIsInIt(World):
    """Mutant: a change delivered again is numbered again."""

    def append(self, n: int, changes: list[FirstLoginCommitted], token: int) -> bool:
        if len(self.ledger) != n:
            return False
        self.ledger += number_first_logins(n, changes, known=())
        self.read_up_to = token
        return True


class StreamWithoutExpectedSequence(World):
    """Mutant: whatever is published is stored."""

    def publish(self, entry: FirstLogin) -> bool:
        self.stream.append(entry.to_json())
        return True


class CursorOutsideTheTransaction(World):
    """Mutant: vouchers first, then the cursor, with nothing to compare."""

    def commit_awards(self, cursor: int, events: list[FirstLogin]) -> bool:
        self.vouchers += award(CAMPAIGN, CAMPAIGN.number_of_promotion - len(self.vouchers), events)
        self.cursor = max(cursor, events[-1].n)
        return True


@pytest.mark.parametrize(
    "mutant",
    [
        LedgerWithoutCompareAndSet,
        LedgerThatForgetsWhoIsInIt,
        StreamWithoutExpectedSequence,
        CursorOutsideTheTransaction,
    ],
)
def test_taking_any_one_promise_away_is_noticed(mutant: type[World]) -> None:
    rng = random.Random(0)

    def run_many() -> None:
        for _ in range(5000):
            schedule = [rng.choice(ACTIONS) for _ in range(120)]
            simulate(mutant(), [(action, rng.randrange(limit)) for action, limit in schedule])

    with pytest.raises(AssertionError):
        run_many()
