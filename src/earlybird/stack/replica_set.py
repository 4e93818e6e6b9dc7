"""The MongoDB replica set of the stack: formed at the first start, readdressed when a port has changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from earlybird.stack.permissions import OPERATOR, Secrets
from earlybird.stack.readiness import mongod_client, port_opens, repeat_until

NAME = "earlybird"
# A lost primary is replaced within seconds; MongoDB's own 10 s is made for networks, not for loopback.
ELECTION_TIMEOUT_MILLIS = 2000
# MongoDB's error_codes.yml
_AUTHENTICATION_FAILED, _ALREADY_INITIALIZED, _NOT_YET_INITIALIZED = 18, 23, 94


async def form_replica_set(ports: Sequence[int], secrets: Secrets) -> None:
    """Make the mongods on these ports one replica set with a writable primary, and make its users.

    Harmless when they are one already. When a port has changed since, the data stay and the addresses are
    replaced by force, as there is no majority to ask while the members look for each other in the wrong place.
    """
    for port in ports:
        await port_opens(port)
    await repeat_until(lambda: _has_configuration(ports, secrets))
    await repeat_until(lambda: _primary_has_users(ports, secrets))


async def _has_configuration(ports: Sequence[int], secrets: Secrets) -> bool:
    try:
        async with mongod_client(ports[0], secrets.login(OPERATOR)) as client:
            present = await _configuration(client)
            if present is None:
                await client.admin.command("replSetInitiate", _wanted(ports))
            elif _hosts(present) != _hosts(_wanted(ports)):
                wanted = {**present, "members": _wanted(ports)["members"]}
                await client.admin.command("replSetReconfig", wanted, force=True)
    except OperationFailure as error:
        return error.code == _AUTHENTICATION_FAILED and await _is_initiated_without_users(ports)
    except PyMongoError:
        return False  # starting, or a member is not reachable yet: the next attempt looks afresh
    return True


async def _is_initiated_without_users(ports: Sequence[int]) -> bool:
    """Do the first of what MongoDB lets this machine do without a password while there is no user."""
    try:
        async with mongod_client(ports[0]) as client:
            await client.admin.command("replSetInitiate", _wanted(ports))
    except OperationFailure as error:
        return error.code == _ALREADY_INITIALIZED
    except PyMongoError:
        return False
    return True


async def _configuration(client: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 - a client of any document type
    try:
        answer = await client.admin.command("replSetGetConfig")
    except OperationFailure as error:
        if error.code == _NOT_YET_INITIALIZED:
            return None
        raise
    config: Mapping[str, Any] = answer["config"]
    return config


def _wanted(ports: Sequence[int]) -> dict[str, Any]:
    return {
        "_id": NAME,
        "members": [{"_id": number, "host": f"127.0.0.1:{port}"} for number, port in enumerate(ports)],
        "settings": {"electionTimeoutMillis": ELECTION_TIMEOUT_MILLIS},
    }


def _hosts(config: Mapping[str, Any]) -> dict[int, str]:
    return {member["_id"]: member["host"] for member in config["members"]}


async def _primary_has_users(ports: Sequence[int], secrets: Secrets) -> bool:
    for port in ports:
        async with mongod_client(port) as client:
            try:
                if (await client.admin.command("hello"))["isWritablePrimary"]:
                    await secrets.create_mongodb_users(port)
                    return True
            except PyMongoError:
                continue
    return False
