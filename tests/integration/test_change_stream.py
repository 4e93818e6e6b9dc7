"""The change stream that the sequencer follows: left without harm to the client, and never followed dead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from people import add_users, log_in_first, running, until_numbered
from pymongo.asynchronous.change_stream import AsyncChangeStream

from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Head, Ledger
from earlybird.infra.mongo import Client, Database, Document


class WatchedLedger(Ledger):
    """Keeps the change streams that were opened, and notes by what each request to them failed, if it did."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.streams: list[AsyncChangeStream[Document]] = []
        self.ended: list[type[BaseException] | None] = []

    @asynccontextmanager
    async def watch(self, head: Head) -> AsyncIterator[AsyncChangeStream[Document]]:
        async with super().watch(head) as changes:
            self.streams.append(changes)
            ask = changes.try_next

            async def try_next() -> Document | None:
                try:
                    answer = await ask()
                except BaseException as error:
                    self.ended.append(type(error))
                    raise
                self.ended.append(None)
                return answer

            changes.try_next = try_next  # type: ignore[method-assign]
            yield changes


async def test_a_change_stream_is_left_without_cutting_its_last_request_short_and_then_closed(
    mongo: Client,
) -> None:
    """Or PyMongo may keep its lock for good, and nothing in this process would reach MongoDB any more."""
    users, ledger = await add_users(mongo, 1), WatchedLedger(mongo["identity"])
    refused = {"failCommands": ["insert"], "errorCode": 13, "appName": "earlybird-test"}
    await mongo.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=refused)
    async with running(Sequencer(ledger, asyncio.Event())):
        await log_in_first(mongo, users)
        await until_numbered(mongo, 1)  # by its second attempt
        first, second = ledger.streams
        async with asyncio.timeout(10):
            while first.alive:
                await asyncio.sleep(0.02)
        assert second.alive
    async with asyncio.timeout(10):
        while second.alive:
            await asyncio.sleep(0.02)
    assert set(ledger.ended) == {None}


async def test_a_sequencer_goes_on_when_the_users_were_dropped_and_made_again(mongo: Client) -> None:
    users, database = await add_users(mongo, 2), mongo["identity"]
    async with running(Sequencer(Ledger(database), asyncio.Event())):
        await log_in_first(mongo, users[:1])
        await until_numbered(mongo, 1)
        saved = await database["users"].find().to_list()
        await database.drop_collection("users")
        await database["users"].insert_many(saved)
        await log_in_first(mongo, users[1:])
        await until_numbered(mongo, 2)
    assert [entry.user_id for entry in await Ledger(database).read_after(0, 9)] == users
