"""Who may do what at the servers of the stack: one user for each service, with what it needs and no more.

The passwords are made at the first start and kept in the data folder, mode 0600. `operator` may do everything:
`earlybird migrate` and the other commands connect as this user. For production see docs/configuration.md.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from earlybird.access.revocation_feed import BUCKET
from earlybird.events import STREAM, SUBJECT, VOUCHER_STREAM, VOUCHER_SUBJECTS
from earlybird.stack.readiness import mongod_client

OPERATOR = "operator"
USERS = (OPERATOR, "identity", "promotions", "relay", "granter", "courier", "webhooks")
_FILE = "secrets.json"
_UNAUTHORIZED, _ROLE_EXISTS, _USER_EXISTS = 13, 51002, 51003  # MongoDB's error_codes.yml

# MongoDB: for each user the collections, by database, and what it may do there. `audit_log` is only ever added to.
_KEEP, _ADD = ["find", "insert", "update", "remove"], ["find", "insert"]
_PRIVILEGES: Mapping[str, Mapping[str, Mapping[str, list[str]]]] = {
    "identity": {
        "identity": {
            "migrations": ["find"],
            "users": ["find", "insert", "update"],
            **dict.fromkeys(("unverified_accounts", "contact_codes", "message_outbox"), _KEEP),
            "audit_log": _ADD,
            "ledger": ["find"],  # for receipts
            "head": ["find"],
        }
    },
    "courier": {
        "identity": {
            "migrations": ["find"],
            "message_outbox": ["find", "update", "remove"],
            "unverified_accounts": ["find", "remove"],
            "audit_log": _ADD,
        }
    },
    "relay": {
        "identity": {
            "migrations": ["find"],
            "users": ["find", "changeStream"],
            "ledger": [*_ADD, "update"],  # entries of a version that did not seal get their seal
            "head": _KEEP,
        }
    },
    "promotions": {
        "promotions": {
            **dict.fromkeys(
                ("campaigns", "vouchers", "cursor", "redemptions", "idempotency_keys", "outbox"), _KEEP
            ),
            **dict.fromkeys(("webhook_endpoints", "webhook_queues"), _KEEP),
            "migrations": ["find"],
            "places": ["find"],
            "audit_log": _ADD,
        }
    },
    "granter": {
        "promotions": {
            "migrations": ["find"],
            **dict.fromkeys(("campaigns", "vouchers", "cursor", "places", "outbox"), _KEEP),
            "audit_log": _ADD,
        }
    },
    "webhooks": {
        "promotions": {
            "migrations": ["find"],
            "campaigns": ["find"],
            "webhook_endpoints": ["find", "update"],
            **dict.fromkeys(("webhook_queues", "webhook_cursor", "webhook_notices"), _KEEP),
            "audit_log": _ADD,
        }
    },
}
# NATS: subjects that a user may not publish to, among them those that change a stream.
_CHANGES = ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE")
_OF_STREAM = {
    stream: [*subjects, *(f"$JS.API.STREAM.{change}.{stream}" for change in _CHANGES)]
    for stream, subjects in {
        STREAM: (SUBJECT,),
        VOUCHER_STREAM: (VOUCHER_SUBJECTS,),
        f"KV_{BUCKET}": (f"$KV.{BUCKET}.>",),
    }.items()
}
_WRITES = {
    "identity": f"KV_{BUCKET}",
    "promotions": "",
    "relay": STREAM,
    "granter": VOUCHER_STREAM,
    "webhooks": "",
}
# Valkey: the keys that a user may touch.
_KEYS = {
    "identity": "~guesses:* ~sessions:* ~LIMITS:*",
    "promotions": "~voucher:*",
    "granter": "~voucher:*",
    "relay": "resetkeys",
}
NATS_USERS = (OPERATOR, *_WRITES)
VALKEY_USERS = (OPERATOR, *(user for user, keys in _KEYS.items() if keys.startswith("~")))


class Secrets:
    """The passwords of one data folder."""

    def __init__(self, root: Path) -> None:
        """Read them, or make them at the first start."""
        file = root / _FILE
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        # One that is missing: the file is of an earlier version.
        self._passwords = {
            name: secrets.token_urlsafe(24) for name in (*USERS, "members", "sms", "webhook-key")
        } | known
        if self._passwords != known:
            write_private(file, json.dumps(self._passwords))
        self._root = root

    def login(self, user: str) -> str:
        """Return `user:password`, as URLs have it."""
        return f"{user}:{self._passwords[user]}"

    def sms_secret(self) -> str:
        """Return the secret that signs short messages on their way to the mailbox, after Standard Webhooks."""
        return f"whsec_{base64.b64encode(self._passwords['sms'].encode()).decode()}"

    def webhook_key(self) -> str:
        """Return the key from which the secrets of webhooks follow."""
        return self._passwords["webhook-key"]

    def key_file(self) -> Path:
        """Return the file by which the mongods know each other."""
        file = self._root / "mongodb.key"
        write_private(file, self._passwords["members"].replace("-", "+").replace("_", "/"))
        return file

    def valkey_rules(self) -> str:
        """Return Valkey's configuration of its users."""
        lines = ["user default off", f"user {OPERATOR} on >{self._passwords[OPERATOR]} ~* &* +@all"]
        lines += [
            f"user {name} on >{self._passwords[name]} {keys} resetchannels +@all -@admin -@dangerous"
            for name, keys in _KEYS.items()
        ]
        return "\n".join(lines) + "\n"

    def nats_users(self) -> list[dict[str, object]]:
        """Return NATS's configuration of its users."""
        users: list[dict[str, object]] = [{"user": OPERATOR, "password": self._passwords[OPERATOR]}]
        for name, own in _WRITES.items():
            denied = [subject for stream, subjects in _OF_STREAM.items() if stream != own for subject in subjects]
            permissions = {"publish": {"deny": denied}}
            users.append({"user": name, "password": self._passwords[name], "permissions": permissions})
        return users

    async def create_mongodb_users(self, port: int) -> None:
        """Make the users, with the privileges of this version. Safe to repeat.

        The first is made without a password, which MongoDB lets this machine do while there is no user.
        """
        async with mongod_client(port) as client:
            await self.create_operator(client)
        async with mongod_client(port, self.login(OPERATOR)) as client:
            await self.put_users(client)

    async def create_operator(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        """Make the operator, if there is no user yet."""
        try:
            await client.admin.command("createUser", OPERATOR, pwd=self._passwords[OPERATOR], roles=["root"])
        except OperationFailure as error:
            if error.code not in {_USER_EXISTS, _UNAUTHORIZED}:  # unauthorized: there are users
                raise

    async def put_users(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        """Make every other user, or give it the password and the privileges of this version."""
        for name, databases in _PRIVILEGES.items():
            privileges = [
                {"resource": {"db": database, "collection": collection}, "actions": actions}
                for database, collections in databases.items()
                for collection, actions in collections.items()
            ]
            await _put(client, "Role", name, {"privileges": privileges, "roles": []})
            await _put(client, "User", name, {"pwd": self._passwords[name], "roles": [name]})


async def _put(client: AsyncMongoClient[dict[str, object]], kind: str, name: str, fields: dict[str, Any]) -> None:
    try:
        await client.admin.command({f"create{kind}": name, **fields})
    except OperationFailure as error:
        if error.code not in {_ROLE_EXISTS, _USER_EXISTS}:
            raise
        await client.admin.command({f"update{kind}": name, **fields})


def write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone can read."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
