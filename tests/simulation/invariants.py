"""What must hold at every moment of a history, and what when it has come to rest."""

from collections.abc import Sequence
from uuid import UUID

from earlybird.events import FirstLogin
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.promotions.vouchers.model import Voucher
from simulation.broker import Stream
from simulation.mongo import Mongo
from simulation.stores import CLOSES_AT, OPENS_AT, SECRET


class Invariants:
    """Checks what is new against what is known."""

    def __init__(self, mongo: Mongo, stream: Stream) -> None:
        self._mongo = mongo
        self._stream = stream
        self._known: list[FirstLogin] = []
        self._seal = FIRST_SEAL
        self._payloads: list[bytes] = []
        self._places: dict[UUID, int] = {}  # of who is in the ledger, in the order of commitment
        self._judged = 0
        self._vouchers: list[Voucher] = []
        self._started: dict[UUID, float] = {}
        self._acknowledged: dict[UUID, float] = {}
        self._shown: set[UUID] = set()
        self._withdrawals: set[UUID] = set()  # begun; it may be done, or may be yet
        self._withdrawn: set[UUID] = set()
        self._known_withdrawn: dict[UUID, int] = {}
        # What is lost on the way to the cache, or evicted, lets a slow reader's "none" in: it lives for a second.
        self.cache_is_whole = True

    def login_started(self, user: UUID, now: float) -> None:
        self._started[user] = now

    def login_acknowledged(self, user: UUID, now: float) -> None:
        self._acknowledged.setdefault(user, now)

    def withdrawal_started(self, user: UUID) -> None:
        self._withdrawals.add(user)

    def withdrawal_acknowledged(self, user: UUID) -> None:
        self._withdrawn.add(user)

    def was_shown(self, user: UUID) -> bool:
        return user in self._shown

    def was_withdrawn(self, user: UUID) -> bool:
        return user in self._withdrawn

    def check_shown(self, user: UUID, *, was_shown: bool, was_withdrawn: bool, is_shown: bool) -> None:
        """Check that nothing is hidden that was shown, or shown that was withdrawn, before the user looked."""
        if is_shown:
            self._shown.add(user)
            assert not (was_withdrawn and self.cache_is_whole), "a withdrawn voucher was shown"
        else:
            hidden = was_shown and self.cache_is_whole and user not in self._withdrawals
            assert not hidden, "a voucher was shown, and then hidden"

    def check_committed(self) -> None:
        """Check what a majority has now: what is known stays, and what is new goes on from it."""
        state = self._mongo.majority
        assert state.ledger[: len(self._known)] == self._known, "an entry of the ledger was changed or removed"
        assert len(state.seals) == len(state.ledger), "an entry has no seal"
        for entry in state.ledger[len(self._known) :]:
            self._check_entry(entry)
            [self._seal] = seal_each(SECRET, self._seal, [entry])
            assert state.seals[entry.n - 1] == self._seal, f"entry {entry.n} is not sealed to those before it"
            self._known.append(entry)
            self._payloads.append(entry.to_json())
        assert state.cursor >= self._judged, "the cursor went back"
        before = state.vouchers[: len(self._vouchers)]
        granted = state.vouchers[len(self._vouchers) :]
        assert before == self._vouchers, "a voucher was changed or removed"
        winners = [voucher.user_id for voucher in state.vouchers]
        places = state.number + len(state.replaced)
        due = _first(self._known[: state.cursor], places)
        if state.reread_n is not None:  # those next in line are getting theirs, one after another
            due = due[: len(winners)]
        assert winners == due, "the vouchers are not those of the judged ledger"
        positions = [voucher.position for voucher in state.vouchers]
        assert positions == list(range(1, len(winners) + 1)), "the positions have a hole"
        assert state.remaining == places - len(winners), "granted and remaining vouchers are not N"
        self._check_withdrawn()
        self._judged = state.cursor
        self._vouchers += granted

    def _check_withdrawn(self) -> None:
        state = self._mongo.majority
        assert self._known_withdrawn.items() <= state.withdrawn.items(), "a withdrawal was taken back"
        for user, position in state.withdrawn.items():
            assert state.vouchers[position - 1].user_id == user, "a withdrawn position was given to another"
        assert set(state.replaced) <= set(state.withdrawn.values()), "what was not withdrawn is replaced"
        assert len(set(state.replaced)) == len(state.replaced), "a voucher was replaced twice"
        self._known_withdrawn = dict(state.withdrawn)

    def _check_entry(self, entry: FirstLogin) -> None:
        state, known = self._mongo.majority, self._known
        assert entry.n == len(known) + 1, f"after {len(known)} comes {entry.n}"
        assert entry.user_id not in self._places, "somebody is in the ledger twice"
        assert entry.first_login_at == state.first_login_at[entry.user_id], f"entry {entry.n} is misdated"
        place = next((i for i, one in enumerate(state.changes) if one.user_id == entry.user_id), None)
        assert place is not None, f"entry {entry.n} is of nobody who logged in"
        for other in known:
            if place < self._places[other.user_id]:
                both = max(place, self._places[other.user_id])
                assert both < self._mongo.reconciled, "the ledger is not in the order of commitment"
                in_time = (other.first_login_at, other.user_id) < (entry.first_login_at, entry.user_id)
                assert in_time, "the order of commitment is lost, and the ledger is not in the order of time"
        if not self._mongo.reconciled:
            assert place == len(known), "somebody was passed over"
        self._places[entry.user_id] = place

    def check_stored(self, count: int) -> None:
        """Check the last message of the stream."""
        messages = self._stream.messages or []
        assert count <= len(self._payloads), f"message {count} is of no entry that a majority has"
        assert messages[count - 1] == self._payloads[count - 1], f"message {count} is not entry {count}"

    def complete(self, users: int) -> bool:
        """Say whether everybody is judged."""
        state, messages = self._mongo.majority, self._stream.messages or []
        return len(state.ledger) == len(messages) == state.cursor == users and state.reread_n is None

    def check_at_rest(self) -> None:
        """Check what must be true once everything is done."""
        state = self._mongo.majority
        assert self._stream.messages == self._payloads, "the stream is not the ledger"
        winners = [voucher.user_id for voucher in state.vouchers]
        places = state.number + len(state.replaced)
        assert winners == _first(self._known, places), "the winners are not the first"
        assert self._withdrawn <= state.withdrawn.keys(), "a withdrawal was acknowledged, and is lost"
        place = {entry.user_id: entry.n for entry in self._known}
        tick = 0.001 if self._mongo.reconciled else 0  # what is ordered by time is ordered by milliseconds
        for one, ended in self._acknowledged.items():
            for other, started in self._started.items():
                assert not (ended + tick < started and place[other] < place[one]), "real time is turned round"
        assert self._shown <= self.winners(), "a voucher shown is not there"

    def winners(self) -> set[UUID]:
        """Give who got a voucher, of whom it was withdrawn too."""
        return {voucher.user_id for voucher in self._mongo.majority.vouchers}

    def check_seen(self, shown: set[UUID]) -> None:
        """Check who sees a voucher when all is at rest. What the cache lost may show one for some time more."""
        holders = self.winners() - self._mongo.majority.withdrawn.keys()
        most = holders if self.cache_is_whole else self.winners()
        assert holders <= shown <= most, "not all winners see their voucher, or others see one"


def _first(entries: Sequence[FirstLogin], number: int) -> list[UUID]:
    """Return the first N who logged in while the campaign was open. Production's own rule has no part in this."""
    return [one.user_id for one in entries if OPENS_AT <= one.first_login_at < CLOSES_AT][:number]
