"""A system that listens to earlybird: it counts what each campaign has given away, each event once.

    python voucher_events.py NATS_URL DATABASE [CONSUMER]      until Ctrl-C; DATABASE is a file of SQLite

The cursor is a durable consumer on the stream `vouchers`. JetStream keeps it: after a stop this goes on where it
stood. An event may come twice, because of a crash between our commit and the acknowledgement. So its id is kept in
the transaction of its effect, and an id that is known has no effect.
What an event holds: docs/asyncapi.yaml.
"""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing, suppress

import nats
from nats.errors import TimeoutError as NothingCame
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

STREAM = "vouchers"
SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS totals (
    campaign_id TEXT PRIMARY KEY, granted INTEGER DEFAULT 0, given INTEGER DEFAULT 0
);
"""
# By type of event: what changes in the totals. New types may come; those that are not here change nothing.
EFFECTS = {
    "earlybird.promotions.voucher.granted.v1": lambda data: (1, 0),
    "earlybird.promotions.voucher.withdrawn.v1": lambda data: (-1, 0),
    "earlybird.promotions.voucher.redeemed.v1": lambda data: (0, data["discount_amount"]),
    "earlybird.promotions.voucher.refunded.v1": lambda data: (0, -data["discount_amount"]),
}


def handle(database, event):
    """Count an event, and remember it, in one transaction. Returns whether it was new."""
    with database:  # commits at the end, or rolls back
        new = database.execute("INSERT OR IGNORE INTO seen VALUES (?)", [event["id"]]).rowcount == 1
        if new and event["type"] in EFFECTS:
            granted, given = EFFECTS[event["type"]](event["data"])
            campaign = event["data"]["campaign_id"]
            database.execute("INSERT OR IGNORE INTO totals (campaign_id) VALUES (?)", [campaign])
            changes = [granted, given, campaign]
            database.execute(
                "UPDATE totals SET granted = granted + ?, given = given + ? WHERE campaign_id = ?", changes
            )
    return new


async def follow(url, database, name):
    """Read events in order, for ever; acknowledge each after its effect is stored."""
    connection = await nats.connect(url)
    cursor = ConsumerConfig(
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,  # a new consumer begins with the oldest event: 30 days are kept
        ack_wait=5,  # seconds; then an event that was not acknowledged comes again
        max_ack_pending=1,  # one after another, also when one is sent again
    )
    try:
        subscription = await connection.jetstream().pull_subscribe("", durable=name, stream=STREAM, config=cursor)
        while True:
            try:
                [message] = await subscription.fetch(1, timeout=5)
            except NothingCame:
                continue
            event = json.loads(message.data)
            word = "new" if handle(database, event) else "known"
            await message.ack()
            print(word, event["id"], event["type"], flush=True)
    finally:
        await connection.close()


def main(url, file, name="campaign-totals"):
    with closing(sqlite3.connect(file)) as database:
        database.executescript(SCHEMA)
        with suppress(KeyboardInterrupt):
            asyncio.run(follow(url, database, name))


if __name__ == "__main__":
    main(*sys.argv[1:])
