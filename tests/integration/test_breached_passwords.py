"""Nobody may choose a password that attackers have read elsewhere."""

import json
from collections.abc import Set
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_service import identity_service
from people import registration

from earlybird.errors import Failure, Refusal
from earlybird.identity.passwords.breached import BreachedPasswords
from earlybird.settings import Settings

NEWLINES = st.sampled_from(["\n", "\r\n"])


def breached_file(path: Path, passwords: Set[str], newline: str = "\r\n") -> Path:
    """Write the file as it is given out: ordered by hash, a count behind each."""
    hashes = sorted(sha1(password.encode(), usedforsecurity=False).hexdigest().upper() for password in passwords)
    path.write_bytes("".join(f"{line}:{10 ** (i % 9)}{newline}" for i, line in enumerate(hashes)).encode())
    return path


async def is_breached(path: Path, password: str) -> bool:
    try:
        await BreachedPasswords(path).check(password)
    except Refusal as refusal:
        return refusal.code == "weak_password"
    return False


@given(passwords=st.sets(st.text(st.characters(codec="utf-8")), min_size=1), other=st.text(), newline=NEWLINES)
async def test_each_password_of_the_file_is_found_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, passwords: set[str], other: str, newline: str
) -> None:
    path = breached_file(tmp_path_factory.getbasetemp() / "breached.txt", passwords, newline)
    assert all([await is_breached(path, password) for password in passwords])
    assert await is_breached(path, other) == (other in passwords)


def test_a_breached_password_is_refused_at_registration(settings: Settings, tmp_path: Path) -> None:
    known = "a sentence that leaked"
    file = breached_file(tmp_path / "breached.txt", {known, "another"})
    with identity_service(settings.model_copy(update={"breached_passwords_file": file})) as identity:

        def register(i: int, password: str) -> str:
            body = json.dumps(registration(i, password=password)).encode()
            return str(identity.post("/register", body).json().get("code", "success"))

        assert register(1, known) == "weak_password"
        assert register(1, "a sentence that did not leak") == "success"


@pytest.mark.parametrize("content", ["", "password:3\n", "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8:1\n"])
def test_a_file_of_another_kind_is_refused_at_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "words").write_text(content)
    with pytest.raises(Failure, match="words: its first line is no SHA-1"):
        BreachedPasswords(tmp_path / "words")
