"""What must hold at every moment of a history, and what when it has come to rest."""

from uuid import UUID

from earlybird.events import FirstLogin
from earlybird.promotions.model import award
from simulation.broker import Stream
from simulation.mongo import Mongo
from simulation.stores import CAMPAIGN, NUMBER


class Invariants:
    """Checks what is new against what is known."""

    def __init__(self, mongo: Mongo, stream: Stream) -> None:
        self._mongo = mongo
        self._stream = stream
        self._known: list[FirstLogin] = []
        self._payloads: list[bytes] = []
        self._judged = (0, 0)
        self._started: dict[UUID, float] = {}
        self._acknowledged: dict[UUID, float] = {}
        self._shown: set[UUID] = set()
        self.order_is_lost = False  # MongoDB forgot it: first logins are then ordered by their time

    def login_started(self, user: UUID, now: float) -> None:
        self._started[user] = now

    def login_acknowledged(self, user: UUID, now: float) -> None:
        self._acknowledged.setdefault(user, now)

    def was_shown(self, user: UUID) -> None:
        self._shown.add(user)

    def shown(self, user: UUID) -> bool:
        return user in self._shown

    def check_committed(self) -> None:
        """Check what a majority has now."""
        state = self._mongo.majority
        fresh = state.ledger[len(self._known) :]
        assert len(state.ledger) >= len(self._known), "the ledger became shorter"
        for entry in fresh:
            assert entry.n == len(self._known) + 1, f"after {len(self._known)} comes {entry.n}"
            self._known.append(entry)
            self._payloads.append(entry.to_json())
        if fresh:
            users = [entry.user_id for entry in self._known]
            assert len(set(users)) == len(users), "somebody is in the ledger twice"
            for entry in fresh:
                assert entry.first_login_at == state.first_login_at[entry.user_id], f"entry {entry.n} is misdated"
            if not self.order_is_lost:
                order = [change.user_id for change in state.changes]
                assert users == order[: len(users)], "the ledger is not in the order of commitment"
        if (state.cursor, len(state.vouchers)) != self._judged:
            self._judged = (state.cursor, len(state.vouchers))
            expected = award(CAMPAIGN, NUMBER, self._known[: state.cursor])
            assert state.vouchers == expected, "the vouchers are not those of the judged ledger"

    def check_stored(self, count: int) -> None:
        """Check the last message of the stream."""
        messages = self._stream.messages or []
        assert count <= len(self._payloads), f"message {count} is of no entry that a majority has"
        assert messages[count - 1] == self._payloads[count - 1], f"message {count} is not entry {count}"

    def complete(self, users: int) -> bool:
        """Say whether everybody is judged."""
        state, messages = self._mongo.majority, self._stream.messages or []
        return len(state.ledger) == len(messages) == state.cursor == users

    def check_at_rest(self) -> None:
        """Check what must be true once everything is done."""
        state = self._mongo.majority
        assert self._stream.messages == self._payloads, "the stream is not the ledger"
        assert state.vouchers == award(CAMPAIGN, NUMBER, self._known), "the winners are not the first"
        place = {entry.user_id: entry.n for entry in self._known}
        tick = 0.001 if self.order_is_lost else 0  # what is ordered by time is ordered by milliseconds
        for one, ended in self._acknowledged.items():
            for other, started in self._started.items():
                assert not (ended + tick < started and place[other] < place[one]), "real time is turned round"
        for user in self._shown:
            assert any(voucher.user_id == user for voucher in state.vouchers), "a voucher shown is not there"
