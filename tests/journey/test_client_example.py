"""The example of the client runs as a reader runs it, and tells the truth."""

import sys
from pathlib import Path

from earlybird.infra.mongo import Client
from journey.records import close_campaigns, open_campaign
from journey.stack_client import RunningStack, attempt

EXAMPLE = Path(__file__).parents[2] / "examples" / "top_up.py"


async def test_one_uses_the_only_voucher_and_the_next_is_told_why_there_is_none(
    stack: RunningStack, mongo: Client
) -> None:
    await open_campaign(mongo, 1)
    code, output = await attempt([sys.executable, EXAMPLE, stack.url])
    assert (code, output) == (0, "Number 1 of 1: 30 % off.\nPaid 70000 VND in place of 100000.\n")
    code, output = await attempt([sys.executable, EXAMPLE, stack.url])
    assert (code, output) == (1, "No voucher: counted, place 2 of 1.\n")
    await close_campaigns(mongo)


async def test_a_wrong_address_is_told_in_one_line(stack: RunningStack) -> None:
    code, output = await attempt([sys.executable, EXAMPLE, f"{stack.url}/nowhere"])
    assert (code, output.count("\n")) == (1, 1)
    assert output.startswith("Refused (not_found)")
