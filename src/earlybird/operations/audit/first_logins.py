"""Are the first logins in order: users, ledger, stream and cursor agree."""

from collections.abc import AsyncIterator
from uuid import UUID

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird import identity, promotions
from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.identity.ledger.seals import FIRST_SEAL
from earlybird.identity.ledger.store import Ledger, first_login
from earlybird.infra.mongo import Client, Document
from earlybird.operations.audit import rules
from earlybird.operations.audit.findings import Difference, Judged, Proof, Report, until_none

_PAGE = 1000


class FirstLoginAudit:
    """Checks the way of every first login from its user to the cursor."""

    def __init__(
        self, client: Client, jetstream: JetStreamContext, session: AsyncClientSession, wait_seconds: float
    ) -> None:
        """Check as of the session's moment; what is on its way then gets `wait_seconds` to arrive."""
        self._identity = client[identity.DATABASE]
        self._promotions = client[promotions.DATABASE]
        self._jetstream = jetstream
        self._session = session
        self._wait_seconds = wait_seconds
        self._cursors = self._promotions["cursor"]

    async def check(self, report: Report) -> Judged:
        """Report each proof, and return how far the ledger and the cursor are. Raises Difference."""
        last = await self.check_ledger()
        report(Proof("ledger", f"{last} first logins, numbered without a hole, each sealed with all before it"))
        await self._check_users()
        report(Proof("users", "everyone who ever logged in is in the ledger once, and nobody else"))
        await self._check_stream(last)
        report(Proof("stream", f"messages 1 to {last} are the ledger's entries 1 to {last}"))
        cursor = await self.check_judged(last)
        await self._check_nothing_beyond()
        report(Proof("cursor", f"{cursor} first logins judged"))
        return Judged(last, cursor)

    async def pages(self, first: int, last: int) -> AsyncIterator[list[FirstLogin]]:
        """Read the ledger's entries from first to last, in order, a page at a time."""
        page: list[FirstLogin] = []
        async for entry in self._ledger({"_id": {"$gte": first, "$lte": last}}):
            page.append(entry)
            if len(page) == _PAGE:
                yield page
                page = []
        yield page

    async def check_ledger(self) -> int:
        """Return the number of the last entry, having seen that there is no hole before it and that the seals fit.

        Raises Difference.
        """
        secret = await Ledger(self._identity).secret()
        last, seal = 0, FIRST_SEAL
        async for document in self._identity["ledger"].find(session=self._session).sort("_id", 1):
            entry = first_login(document)
            last = rules.next_number(last, entry)
            seal = rules.next_seal(secret, seal, entry, document.get("seal"))
        head = await self._identity["head"].find_one({"_id": "head"}, session=self._session)
        if head is None or head["n"] != last:
            raise Difference(f"ledger: the head says {head and head['n']}, the last entry is {last}")
        return last

    async def _check_users(self) -> None:
        """Join users and ledger, both in order of user id."""
        users = self._identity["users"].find(
            {"$or": [{"is_first_login": 0}, {"first_login_at": {"$exists": True}}]},
            {"is_first_login": 1, "first_login_at": 1},
            session=self._session,
        )
        entries = self._identity["ledger"].find(session=self._session).sort("user_id", 1)
        entry = await anext(entries, None)
        on_their_way: list[UUID] = []
        async for user in users.sort("_id", 1):
            if rules.is_entered(user, entry):
                entry = await anext(entries, None)
            else:
                on_their_way.append(user["_id"])
        if entry is not None:
            raise Difference(
                f"ledger: entry {entry['_id']} is of {entry['user_id']}, who never logged in or is in it twice"
            )
        await self._wait_for_ledger(on_their_way)

    async def _wait_for_ledger(self, user_ids: list[UUID]) -> None:
        """Wait until first logins that were committed a moment before the snapshot have reached the ledger."""
        ledger = self._identity["ledger"]

        async def first_missing() -> UUID | None:
            for user_id in user_ids:
                if await ledger.find_one({"user_id": user_id}) is None:
                    return user_id
            return None

        missing = await until_none(first_missing, self._wait_seconds)
        if missing is not None:
            raise Difference(f"users: the first login of {missing} never reached the ledger")

    async def _check_stream(self, last: int) -> None:
        async def lag() -> int | None:
            info = await self._jetstream.stream_info(STREAM)
            return info.state.last_seq if info.state.last_seq < last else None

        try:
            behind = await until_none(lag, self._wait_seconds)
            if behind is not None:
                raise Difference(f"stream: it ends at {behind}, the ledger at {last}")
            messages = self._messages(last)
            async for entry in self._ledger():
                message = await anext(messages, None)
                if message is None or message[0] != entry.n or not entry.is_told_by(message[1]):
                    found = message and message[0]
                    raise Difference(f"stream: message {found} is not the ledger's entry {entry.n}")
        except NotFoundError:
            raise Difference(f"stream: there is no stream {STREAM}") from None

    async def _check_nothing_beyond(self) -> None:
        """Check that the stream is not ahead of the ledger. Both may grow during the check, the ledger first."""

        async def surplus() -> tuple[int, int] | None:
            end = (await self._jetstream.stream_info(STREAM)).state.last_seq
            head = await self._identity["head"].find_one({"_id": "head"})
            last = 0 if head is None else int(head["n"])
            return (end, last) if end > last else None

        ahead = await until_none(surplus, self._wait_seconds)
        if ahead is not None:
            raise Difference(f"stream: it goes on to {ahead[0]}, the ledger ends at {ahead[1]}")

    async def _messages(self, last: int) -> AsyncIterator[tuple[int, bytes]]:
        """Read `last` messages; fewer only if NATS says that there are no more. Raises nats.errors.Error."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1
        )
        consumer = await self._jetstream.pull_subscribe(SUBJECT, stream=STREAM, config=config)
        try:
            read, pending = 0, (await consumer.consumer_info()).num_pending
            while read < last and pending:
                for message in await consumer.fetch(min(_PAGE, last - read), timeout=5):
                    read, pending = read + 1, message.metadata.num_pending
                    yield message.metadata.sequence.stream, message.data
        finally:
            await consumer.unsubscribe()

    async def check_judged(self, last: int) -> int:
        """Return how many first logins are judged, having seen that the ledger has them all. Raises Difference."""
        cursor = await self._cursors.find_one({"_id": "first-logins"}, session=self._session)
        judged = 0 if cursor is None else int(cursor["n"])
        if judged > last:
            raise Difference(f"cursor: {judged} first logins are judged, the ledger has only {last}")
        return judged

    async def check_keeps_up(self, last: int) -> None:
        """See that all that `check` found is judged by now. Raises Difference.

        Comes after the vouchers: one that is wrong may be what holds the granter up, and is to be named first.
        """

        async def lag() -> int | None:
            now = await self._cursors.find_one({"_id": "first-logins"})
            n = 0 if now is None else int(now["n"])
            return n if n < last else None

        behind = await until_none(lag, self._wait_seconds)
        if behind is not None:
            raise Difference(f"cursor: {behind} first logins are judged, the ledger has {last}")

    async def _ledger(self, which: Document | None = None) -> AsyncIterator[FirstLogin]:
        async for document in self._identity["ledger"].find(which, session=self._session).sort("_id", 1):
            yield first_login(document)
