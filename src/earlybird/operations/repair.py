"""A lost entry of the ledger comes back from the stream, which is a copy of it."""

from collections.abc import AsyncIterator, Sequence

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from pymongo.errors import DuplicateKeyError

from earlybird.errors import Failure
from earlybird.events import STREAM, FirstLogin, MalformedEvent
from earlybird.identity import DATABASE
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.identity.ledger.store import Ledger, entry_document, first_login
from earlybird.infra.mongo import Client


async def refill_ledger(client: Client, jetstream: JetStreamContext) -> list[int]:
    """Put back what the ledger has lost, as the stream has it; give the numbers. Safe to repeat.

    What the stream says is believed if it is of a user with that very first login. Everything is looked up before
    anything is written. Raises Failure.
    """
    entries = [await _find_in_stream(client, jetstream, n) async for n in _missing(client)]
    seals = await _seals(client, entries)
    for entry in entries:
        try:
            await client[DATABASE]["ledger"].insert_one(entry_document(entry, seals[entry.n]))
        except DuplicateKeyError:
            raise Failure(
                f"entry {entry.n} was of {entry.user_id}, who has another number now: restore a backup"
            ) from None
    return [entry.n for entry in entries]


async def _seals(client: Client, entries: Sequence[FirstLogin]) -> dict[int, bytes]:
    """Return the seals of lost entries. Raises Failure where the entry that comes after says otherwise."""
    ledger, seals = client[DATABASE]["ledger"], {0: FIRST_SEAL}
    secret = await Ledger(client[DATABASE]).secret()
    for entry in entries:
        if entry.n - 1 not in seals:
            seals[entry.n - 1] = (await ledger.find_one({"_id": entry.n - 1}) or {})["seal"]
        [seals[entry.n]] = seal_each(secret, seals[entry.n - 1], [entry])
        after = await ledger.find_one({"_id": entry.n + 1})
        if after and list(seal_each(secret, seals[entry.n], [first_login(after)])) != [after["seal"]]:
            raise Failure(f"entry {entry.n} was another than the stream has: restore a backup")
    return seals


async def _missing(client: Client) -> AsyncIterator[int]:
    """Return the numbers up to the head that no entry has."""
    head = await Ledger(client[DATABASE]).head()
    expected = 1
    async for entry in client[DATABASE]["ledger"].find({"_id": {"$lte": head.n}}, {"_id": 1}).sort("_id", 1):
        while expected < entry["_id"]:
            yield expected
            expected += 1
        expected += 1
    while expected <= head.n:
        yield expected
        expected += 1


async def _find_in_stream(client: Client, jetstream: JetStreamContext, n: int) -> FirstLogin:
    try:
        entry = FirstLogin.from_json((await jetstream.get_msg(STREAM, n)).data or b"")
    except (NotFoundError, MalformedEvent):
        raise Failure(f"entry {n} is neither in the ledger nor in the stream: restore a backup") from None
    user = {"_id": entry.user_id, "first_login_at": entry.first_login_at}
    if entry.n != n or await client[DATABASE]["users"].find_one(user, {"_id": 1}) is None:
        raise Failure(f"message {n} of the stream is of no first login that the users know: restore a backup")
    return entry
