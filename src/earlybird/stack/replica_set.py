"""The MongoDB replica set of the stack: formed at the first start, readdressed when a port has changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from earlybird.stack.readiness import mongod_client, port_opens, repeat_until

NAME = "earlybird"
# A lost primary is replaced within seconds; MongoDB's own 10 s is made for networks, not for loopback.
ELECTION_TIMEOUT_MILLIS = 2000
_NOT_YET_INITIALIZED = 94  # MongoDB's error_codes.yml


async def form_replica_set(ports: Sequence[int]) -> None:
    """Make the mongods on these ports one replica set, and wait until it has a writable primary.

    Harmless when they are one already. When a port has changed since, the data stay and the addresses are
    replaced by force, as there is no majority to ask while the members look for each other in the wrong place.
    """
    for port in ports:
        await port_opens(port)
    await repeat_until(lambda: _has_configuration(ports))
    await repeat_until(lambda: _any_is_primary(ports))


async def _has_configuration(ports: Sequence[int]) -> bool:
    async with mongod_client(ports[0]) as client:
        try:
            present = await _configuration(client)
            if present is None:
                await client.admin.command("replSetInitiate", _wanted(ports))
            elif _hosts(present) != _hosts(_wanted(ports)):
                wanted = {**present, "members": _wanted(ports)["members"]}
                await client.admin.command("replSetReconfig", wanted, force=True)
        except PyMongoError:
            return False  # starting, or a member is not reachable yet: the next attempt looks afresh
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


async def _any_is_primary(ports: Sequence[int]) -> bool:
    for port in ports:
        async with mongod_client(port) as client:
            try:
                if (await client.admin.command("hello"))["isWritablePrimary"]:
                    return True
            except PyMongoError:
                continue
    return False
