"""identity with verification on, in this process; and the letters that wait in its outbox, opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import httpx2
from people import registration
from redis.asyncio import Redis

from earlybird.access.revocation_feed import RevocationFeed
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import build_identity_app, message_key
from earlybird.identity.contacts.outbox import Message, Outbox
from earlybird.identity.passwords.hashing import Passwords
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.infra.mongo import Client
from earlybird.settings import Settings

PASSWORD = "correct horse battery"
SENDERS = {
    "smtp_url": "smtp://127.0.0.1:1",
    "smtp_sender": "earlybird <no-reply@example.com>",
    "sms_webhook_url": "http://127.0.0.1:1/sms",
    "sms_webhook_secret": "whsec_" + "QUJD" * 8,
}


def verifying(settings: Settings, verify: str, **changes: object) -> Settings:
    """Give the settings with verification on."""
    return Settings.model_validate(settings.model_dump() | SENDERS | {"verify": verify} | changes)


@dataclass
class Service:
    """The service as a client sees it, and its database."""

    http: httpx2.AsyncClient
    mongo: Client
    outbox: Outbox

    async def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        return await self.http.post(path, json=body, headers={"X-Client-Address": "127.0.0.1"} | headers)

    async def register(self, i: int, language: str = "en", **changes: object) -> dict[str, Any]:
        person = registration(i, **changes)
        answer = await self.post("/register", person, **{"Accept-Language": language})
        assert answer.status_code == 200, answer.text
        return person

    async def log_in(self, login: object, password: str = PASSWORD) -> str:
        """Log in; return the code of the refusal, or `success`."""
        answer = await self.post("/login", {"username": login, "password": password})
        assert answer.status_code == (200 if answer.json()["status"] == "success" else 400)
        return str(answer.json().get("code", "success"))

    async def confirm(self, username: object, contact: object, code: str) -> tuple[int, str]:
        body = {"username": username, "contact": contact, "code": code}
        answer = await self.post("/verifications/confirm", body)
        return answer.status_code, answer.json().get("code", "success")

    async def letters(self) -> dict[str, Message]:
        """Open what waits in the outbox; give it by its address."""
        found = [one async for one in self.mongo["identity"]["message_outbox"].find()]
        opened = [self.outbox._open(one["_id"], one["sealed"]) for one in found]
        return {letter.address: letter for letter in opened if letter}

    async def code(self, contact: object) -> str:
        """Return the code that waits for a contact."""
        return (await self.letters())[str(contact)].code or ""

    async def user_names(self) -> list[str]:
        return [user["username"] async for user in self.mongo["identity"]["users"].find()]


@asynccontextmanager
async def verified_identity(settings: Settings, mongo: Client, valkey: Redis) -> AsyncIterator[Service]:
    """Run the service with the cheapest hashes."""
    passwords = Passwords(memory_kib=8, iterations=1, slots=2, queue_seconds=10)
    database, keys = mongo["identity"], KeyFolder.of(settings)
    feed = RevocationFeed(settings, "test")
    with closing(passwords):
        app = build_identity_app(settings, UserStore(database), database, valkey, passwords, keys, feed)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://identity") as http:
            yield Service(http, mongo, Outbox(database, message_key(settings)))
