"""Passwords: a bounded pool behind a short queue, and nobody can tell whether an account exists."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters

from earlybird.errors import Unavailable
from earlybird.identity.passwords.hashing import Passwords
from earlybird.settings import Settings


async def stays() -> None:
    """Be a client that waits for its answer."""
    await asyncio.Event().wait()


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    cheapest = Passwords(memory_kib=8, iterations=1, slots=1, queue_seconds=0.5)
    yield cheapest
    cheapest.close()


async def test_a_password_fits_its_own_hash_alone(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse battery", stays)
    assert await passwords.verify("correct horse battery", kept, stays)
    assert not await passwords.verify("Correct horse battery", kept, stays)


async def test_an_unknown_user_costs_a_hash_and_never_fits(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = PasswordHasher.verify

    def counted(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return verify(hasher, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    assert not await passwords.verify("nobody's password", None, stays)
    assert len(verified) == 1


async def test_a_hash_that_cannot_be_read_fits_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("anything", "not an argon2 string", stays)


async def test_by_default_a_hash_is_what_owasp_asks_for() -> None:
    default = Settings()
    parameters = extract_parameters(
        PasswordHasher(default.password_iterations, default.password_memory_kib, parallelism=1).hash("x")
    )
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)
    assert parameters.type.name == "ID"


async def test_beyond_the_queue_a_request_is_refused_at_once(passwords: Passwords) -> None:
    admitted = [passwords.admit() for _ in range(passwords.capacity)]
    for entry in admitted:
        entry.__enter__()
    with pytest.raises(Unavailable) as refusal, passwords.admit():
        pytest.fail("one more was let in")
    assert refusal.value.code == "overloaded"
    assert int(refusal.value.headers["Retry-After"]) >= 1
    admitted[0].__exit__(None, None, None)
    with passwords.admit():
        assert await passwords.hash("let in again", stays)


async def test_however_long_a_hash_takes_there_is_one_to_follow_for_each_slot() -> None:
    impatient = Passwords(memory_kib=8, iterations=1, slots=3, queue_seconds=1e-9)
    impatient.close()
    assert impatient.capacity == 6


async def test_a_place_in_the_queue_is_given_back_whatever_happens(passwords: Passwords) -> None:
    for _ in range(passwords.capacity + 5):
        with pytest.raises(RuntimeError), passwords.admit():
            raise RuntimeError
    with passwords.admit():
        assert await passwords.hash("still open", stays)


async def test_no_more_hashes_run_at_once_than_there_are_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock = threading.Lock()
    hashing = PasswordHasher.hash

    def counted(hasher: PasswordHasher, password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return hashing(hasher, password)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(PasswordHasher, "hash", counted)
    passwords = Passwords(memory_kib=1024, iterations=2, slots=2, queue_seconds=5)
    await asyncio.gather(*(passwords.hash("x", stays) for _ in range(50)))
    passwords.close()
    assert most == 2
