"""A person's first hour: start it, paste what it prints, stop it, start it again."""

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from journey.curl import stand_in_for_curl
from journey.stack_client import RunningStack, run, running_stack

LOGIN = {"username": "ada", "password": "correct horse battery"}


@dataclass(frozen=True)
class FirstRun:
    """What came of the four commands, and the same data under a new `up`."""

    registered: dict[str, Any]
    token: str
    shown: dict[str, Any]
    spent: dict[str, Any]
    jwks: dict[str, Any]
    restarted: RunningStack
    http: httpx2.AsyncClient


def script(output: str) -> str:
    """Put the four printed commands into one script; the voucher, granted a moment later, is asked for again."""
    lines = output.replace("\\\n", "").splitlines()
    register, login, voucher, redeem = [line for line in lines if "curl " in line]
    return f"""set -euo pipefail
{register}; echo
{login}
echo "$TOKEN"
deadline=$((SECONDS + 30))
until SHOWN=$({voucher}) && [[ $SHOWN == *success* || $SECONDS -gt $deadline ]]; do :; done
echo "$SHOWN"
{redeem}; echo
"""


@pytest.fixture(scope="module")
async def first_run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FirstRun]:
    folder = tmp_path_factory.mktemp("first-run")
    prepare = "" if shutil.which("curl") else f"export PATH={stand_in_for_curl(folder)}:$PATH\n"
    async with running_stack(folder) as stack:
        registered, token, shown, spent = (await run(["bash", "-c", prepare + script(stack.output)])).splitlines()
        async with httpx2.AsyncClient(base_url=stack.url, trust_env=False) as http:
            jwks = (await http.get("/.well-known/jwks.json")).json()
    assert not (folder / "data" / "stack.json").exists()
    async with running_stack(folder) as stack, httpx2.AsyncClient(base_url=stack.url, trust_env=False) as http:
        said = [json.loads(answer) for answer in (registered, shown, spent)]
        yield FirstRun(said[0], token, said[1], said[2], jwks, stack, http)


async def test_the_four_printed_commands_work_when_pasted(first_run: FirstRun) -> None:
    assert first_run.registered == {"status": "success"}
    assert first_run.token.count(".") == 2
    assert first_run.shown["status"] == "success"
    assert set(first_run.shown["voucher"]) == {"description", "discount", "expire_at"}
    assert first_run.shown["voucher"]["discount"] == 30
    assert first_run.spent["redemption"]["payable_amount"] == 70_000


async def see_state(first_run: FirstRun, token: str) -> list[str]:
    answer = await first_run.http.get("/vouchers", headers={"Authorization": f"Bearer {token}"})
    return [voucher["state"] for voucher in answer.json()["vouchers"]]


async def test_an_account_from_before_a_restart_can_log_in_after_it(first_run: FirstRun) -> None:
    answer = await first_run.http.post("/login", json=LOGIN)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    assert await see_state(first_run, answer.json()["token"]) == ["redeemed"]


async def test_a_token_from_before_a_restart_is_good_after_it_for_the_key_is_the_same(first_run: FirstRun) -> None:
    assert (await first_run.http.get("/.well-known/jwks.json")).json() == first_run.jwks
    assert await see_state(first_run, first_run.token) == ["redeemed"]
