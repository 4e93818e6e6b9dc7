"""Whatever is rotated or retired when: one key signs, and each token verifies until it expires."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.identity.sessions.key_plan import PlannedKey, retired, rotated, signing, verifying

FIRST = PlannedKey("0", 0, None)
UNTIL = 1800 + 60  # after the next key signs: a token's life, and what clocks may differ by


def test_the_states_of_a_rotation() -> None:
    plan = rotated([FIRST], "1", 600)
    assert plan == [PlannedKey("0", 0, 600 + UNTIL), PlannedKey("1", 600, None)]

    def states(now: float) -> list[str]:
        return [key.state(now, plan) for key in plan]

    assert states(599) == ["signing", "next"]
    assert states(600) == ["verifying", "signing"]
    assert states(600 + UNTIL - 1) == ["verifying", "signing"]
    assert states(600 + UNTIL) == ["expired", "signing"]
    assert verifying(plan, 600 + UNTIL) == plan[1:]
    assert signing([PlannedKey("1", 5, None)], 4) is None


def test_a_key_that_expires_anyway_keeps_its_time() -> None:
    plan = rotated(rotated([FIRST], "1", 600), "2", 700)
    assert [key.verifies_until for key in plan] == [600 + UNTIL, 700 + UNTIL, None]


def test_when_the_next_key_is_retired_the_one_before_goes_on() -> None:
    plan = rotated([FIRST], "1", 600)
    assert retired(plan, "1") == [FIRST]
    assert retired(plan, "0") == plan[1:]
    assert retired([FIRST], "0") == []
    newest = PlannedKey("9", 50, 90)
    assert retired([newest, PlannedKey("8", 40, 99), FIRST], "0") == [
        PlannedKey("8", 40, 99),
        PlannedKey("9", 50, None),
    ]


@pytest.mark.parametrize("retires", [False, True])
@given(waits=st.lists(st.integers(0, 5000), min_size=1, max_size=6), at=st.integers(0, 40_000))
def test_in_every_history_each_token_verifies_until_it_expires(retires: bool, waits: list[int], at: int) -> None:
    """`retires`: after each rotation the key that it made is retired at once."""
    plans = [(0.0, [FIRST])]
    for number, wait in enumerate(waits, start=1):
        made, plan = plans[-1]
        now = max(made, *(key.signs_from for key in plan)) + wait
        plans.append((now, rotated(verifying(plan, now), str(number), now + 600)))
        if retires:
            plans.append((now, retired(plans[-1][1], str(number))))
    known = next(plan for made, plan in reversed(plans) if made <= at)
    signer = signing(known, at)
    assert signer is not None
    for made, plan in plans:
        if at <= made < at + 1800:
            assert signer.kid in {key.kid for key in verifying(plan, made)}
    assert signing(plans[-1][1], 1e9) is not None, "some key signs for good"
