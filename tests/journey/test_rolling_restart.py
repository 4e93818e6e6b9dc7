"""A new version goes live: every role is restarted under load, and no client notices."""

import signal
from collections import Counter

import httpx2
import pytest

from journey.customers import log_in, new_person, register, register_many, see_voucher
from journey.stack_client import RunningStack, earlybird, eventually
from journey.test_failures import repeated

ROUNDS = (("identity-1", "promotions-1", "relay"), ("identity-2", "promotions-2", "granter"))

LOAD = 6  # at once: what one identity bears though each hash takes it 100 ms, as beside another test it may


@pytest.mark.slow
async def test_no_request_fails_while_every_role_is_restarted_in_turn(
    stack: RunningStack, http: httpx2.AsyncClient
) -> None:
    customer = (await register_many(http, 1))[0]
    token = await log_in(http, customer)
    answers: Counter[tuple[str, int]] = Counter()

    async def visit() -> None:
        """Register, log in twice, look: what fails at the connection raises, and any answer is counted.

        Each logs in to an account of their own: ten logins to one at once may be taken for guesses.
        """
        newcomer = new_person()
        login = ("/login", newcomer.login())
        for path, body in (("/register", newcomer.registration()), login, login):
            answers[path, (await http.post(path, json=body)).status_code] += 1
        code = (await see_voucher(http, token)).json().get("code", "")
        answers["/voucher", 200 if code in {"", "voucher_not_found"} else 503] += 1

    async with repeated(visit, at_once=LOAD):
        for roles in ROUNDS:
            seen = answers.total()
            await eventually(lambda seen=seen: answers.total() > seen + 100)  # type: ignore[misc]
            await stack.has_replaced(stack.send(signal.SIGTERM, *roles))
        seen = answers.total()
        await eventually(lambda: answers.total() > seen + 100)

    assert {status for _, status in answers} == {200}, answers
    await register(http, new_person())
    assert "Audit passed" in await earlybird(stack, "audit")
