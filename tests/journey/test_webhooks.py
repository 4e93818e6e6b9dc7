"""Another system is told of vouchers: added over HTTP or on the command line, and looked after there."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from earlybird.infra.mongo import Client
from journey.customers import assert_refused, newcomer_token, until_voucher
from journey.records import close_campaigns
from journey.stack_client import RunningStack, earlybird
from journey.test_managing import act, create, manager
from journey.test_redemptions import spend
from webhook_receiver import receiver

__all__ = ["manager"]  # a fixture

NEW = {"topics": ["voucher.granted", "voucher.redeemed"], "description": "shop"}


async def test_a_shop_is_told_of_a_voucher_that_is_granted_and_spent_and_of_nothing_after_it_was_removed(
    http: httpx2.AsyncClient, mongo: Client, manager: Mapping[str, str]
) -> None:
    await close_campaigns(mongo)
    async with receiver() as shop:
        answer = await http.post("/webhooks", json=NEW | {"address": shop.url}, headers=manager)
        assert answer.status_code == 200, answer.text
        added, secret = answer.json()["webhook"], answer.json()["secret"]
        here = f"/webhooks/{added['id']}"
        await act(http, manager, await create(http, manager), "open")
        token = await newcomer_token(http)
        await until_voucher(http, token)
        assert (await spend(http, token)).status_code == 200
        await shop.until(2)
        told = [json.loads(one.body)["type"].split(".")[-2] for one in shop.arrived]
        assert told == ["granted", "redeemed"]
        assert all(one.is_signed_by(secret) for one in shop.arrived)
        assert (await http.post(f"{here}/test", headers=manager)).status_code == 200
        await shop.until(3)
        rotated = (await http.post(f"{here}/rotate", headers=manager)).json()
        assert rotated["secret"] not in (None, secret)
        assert rotated["webhook"]["secret_number"] == 2
        assert (await http.delete(here, headers=manager)).status_code == 200
        assert_refused(await http.get(here, headers=manager), "webhook_not_found", 404)
    log = (await http.get("/audit-log/promotions?limit=20", headers=manager)).json()["entries"]
    noted = [entry for entry in log if entry["subject"] == added["id"]]
    assert [entry["action"] for entry in noted] == ["webhook.removed", "webhook.rotated", "webhook.added"]
    assert shop.url not in json.dumps(noted), "an address may be a secret"


async def test_bad_webhooks_are_refused_by_the_field(http: httpx2.AsyncClient, manager: Mapping[str, str]) -> None:
    bad_values: dict[str, list[object]] = {
        "address": [
            "https://10.1.2.3/",
            "ftp://shop.example/",
            "https://user:pass@shop.example/",
            "https:///",
            "x",
        ],
        "topics": [[], ["voucher.eaten"], "voucher.granted", None],
        "kind": ["pigeon", 1],
        "description": ["", "\u202e", 7],
    }
    for field, bad in bad_values.items():
        for value in bad:
            body = NEW | {"address": "https://shop.example/hooks", field: value}
            answer = await http.post("/webhooks", json=body, headers=manager)
            assert_refused(answer, "invalid_field", 422)
            assert field in answer.json()["message"]
    stranger = {"Authorization": f"Bearer {await newcomer_token(http)}"}
    assert_refused(await http.get("/webhooks", headers=stranger), "forbidden", 403)


@pytest.mark.slow
async def test_the_command_line_does_the_same(stack: RunningStack) -> None:
    async with receiver() as shop:
        said = await earlybird(stack, "webhook", "add", shop.url, "--description", "shop")
        assert "voucher.granted" in said
        secret = said.split("whsec_")[1].strip()
        listed = json.loads(await earlybird(stack, "webhook", "list", "--json"))
        [one] = [webhook for webhook in listed if webhook["host"] == "127.0.0.1"]
        await earlybird(stack, "webhook", "test", one["id"][:13])
        await shop.until(1)
        assert shop.arrived[0].is_signed_by(f"whsec_{secret}")
        assert "is paused" in await earlybird(stack, "webhook", "pause", one["id"])
        assert "goes on" in await earlybird(stack, "webhook", "resume", one["id"])
        assert "Nothing is dead." in await earlybird(stack, "webhook", "show", one["id"], "--dead")
        assert "0 subjects" in await earlybird(stack, "webhook", "replay", one["id"])
        assert "whsec_" in await earlybird(stack, "webhook", "rotate", one["id"])
        assert "is removed" in await earlybird(stack, "webhook", "remove", one["id"])


async def test_the_commands_of_the_page_work_as_they_stand_there(stack: RunningStack) -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    block = re.search(r"```\n(earlybird .*?)```", page, re.DOTALL)
    assert block
    lines = block[1].strip().splitlines()
    assert len(lines) == 4
    said = [await earlybird(stack, *shlex.split(line)[1:]) for line in lines]
    assert "whsec_" in said[0]
    assert all(host in said[3] for host in ("shop.example", "hooks.slack", "bank.example"))
    for one in json.loads(await earlybird(stack, "webhook", "list", "--json")):
        await earlybird(stack, "webhook", "remove", one["id"])
