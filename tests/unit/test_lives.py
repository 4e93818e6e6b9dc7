"""The tables from which lives are decided (campaigns, redemptions, vouchers) are whole, and drawn as they are."""

from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from typing import Any

import pytest
from diagrams import drawn_steps

from earlybird.errors import HTTP_STATUS
from earlybird.life import No
from earlybird.promotions.campaigns import rules
from earlybird.promotions.campaigns.model import CampaignState
from earlybird.promotions.redemptions import model as redemptions
from earlybird.promotions.vouchers.model import VoucherState
from earlybird.promotions.withdrawals import model as withdrawals

Life = Mapping[tuple[Any, Any], Any]
LIVES: dict[str, tuple[Life, type[StrEnum], set[tuple[str, str]]]] = {
    "a campaign": (rules.LIFE, CampaignState, {("draft", "create"), ("scheduled", "create with a start")}),
    "a redemption": (
        redemptions.LIFE,
        redemptions.RedemptionState,
        {("reserved", "reserve"), ("redeemed", "redeem")},
    ),
    "a voucher": (withdrawals.LIFE, VoucherState, set()),
}


@pytest.mark.parametrize("of", LIVES)
def test_the_diagram_is_the_table(of: str) -> None:
    life, states, beginnings = LIVES[of]
    steps = {(state, after, event) for (state, event), after in life.items() if not isinstance(after, No)}
    expected = {(str(state), str(after), str(event)) for state, after, event in steps if after is not state}
    expected |= {("[*]", state, event) for state, event in beginnings}
    assert drawn_steps(next(iter(states))) == expected


@pytest.mark.parametrize("of", LIVES)
def test_every_state_answers_everything_that_people_can_ask(of: str) -> None:
    life, states, _ = LIVES[of]
    asked = {event for _, event in life} - {"the start comes", "the end comes", "15 minutes"}
    assert {(state, event) for state, event in life if event in asked} == set(product(states, asked))


@pytest.mark.parametrize("of", LIVES)
def test_every_refusal_has_a_code_and_a_sentence(of: str) -> None:
    refusals = [outcome for outcome in LIVES[of][0].values() if isinstance(outcome, No)]
    assert refusals
    assert all(one.code in HTTP_STATUS and one.message.endswith(".") for one in refusals)
