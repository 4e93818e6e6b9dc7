"""The checker passes a sound run, and names each thing that can be wrong with one: every case is planted here."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from earlybird.events import FirstLogin
from faults.checker import missing, safety_violations
from faults.history import Call, FinalState, History, Observation, Outcome, Redemption, User, Withdrawal

START = datetime(2026, 11, 1, tzinfo=UTC)
BASE, PEOPLE, NUMBER = 7, 6, 3
NAMES = [f"p{i}" for i in range(1, PEOPLE + 1)]
IDS = [UUID(int=i) for i in range(1, PEOPLE + 1)]
Plant = Callable[[History, FinalState], FinalState]


def a_sound_run() -> tuple[History, FinalState]:
    """Six people log in one after the other, three win, all three redeem."""
    dates = [START + timedelta(seconds=i) for i in range(PEOPLE)]
    ledger = [FirstLogin(BASE + i, IDS[i - 1], dates[i - 1]) for i in range(1, PEOPLE + 1)]
    redemptions = [Redemption(UUID(int=100 + i), IDS[i], "redeemed") for i in range(NUMBER)]
    calls = []
    for i, name in enumerate(NAMES):
        calls.append(Call("register", name, i - 10, i - 9.5, Outcome.OK))
        calls.append(Call("login", name, i, i + 0.5, Outcome.OK))
    for i, one in enumerate(redemptions):
        calls.append(Call("voucher", NAMES[i], i + 1, i + 1.1, Outcome.OK))
        calls.append(Call("redeem", NAMES[i], i + 1.2, i + 1.3, Outcome.OK, str(one.id)))
    seen = [Observation(at, tuple(IDS[:at]), tuple(IDS[: min(at, NUMBER)]), BASE + at) for at in range(PEOPLE)]
    final = FinalState(
        base=BASE,
        number=NUMBER,
        opened_with=NUMBER,
        starts_at=START,
        ends_at=None,
        users={name: User(IDS[i], dates[i]) for i, name in enumerate(NAMES)},
        ledger=ledger,
        positions=[(i + 1, IDS[i]) for i in range(NUMBER)],
        remaining=0,
        cursor=BASE + PEOPLE,
        redemptions=redemptions,
        replicas={name: [entry.to_json() for entry in ledger] for name in ("nats-1", "nats-2")},
        told=[f"{i}.granted" for i in range(NUMBER)] + [f"{i}.redeemed" for i in range(NUMBER)],
    )
    return History(calls, seen), final


def test_a_sound_run_is_passed() -> None:
    history, final = a_sound_run()
    assert safety_violations(history, final) == []
    assert missing(history, final, PEOPLE, NUMBER) == []


def test_an_unknown_login_may_be_in_the_ledger_or_not() -> None:
    history, final = a_sound_run()
    history.calls[11] = replace(history.calls[11], outcome=Outcome.UNKNOWN)
    assert safety_violations(history, final) == []
    users = {**final.users, "p6": User(IDS[5], None)}
    replicas = {name: copy[:5] for name, copy in final.replicas.items()}
    without = replace(final, users=users, ledger=final.ledger[:5], cursor=BASE + 5, replicas=replicas)
    assert safety_violations(history, without) == []


def swapped(final: FinalState, i: int, j: int) -> FinalState:
    """Give the state in which two entries of the ledger changed places, and all copies with them."""
    ledger = list(final.ledger)
    one, other = ledger[i], ledger[j]
    ledger[i], ledger[j] = replace(other, n=one.n), replace(one, n=other.n)
    return replace(final, ledger=ledger, replicas={"nats-1": [entry.to_json() for entry in ledger]})


def twice_in_the_ledger(_: History, final: FinalState) -> FinalState:
    again = replace(final.ledger[0], n=BASE + PEOPLE + 1)
    return replace(final, ledger=[*final.ledger, again])


def an_acknowledged_login_undone(_: History, final: FinalState) -> FinalState:
    users = {**final.users, "p6": User(IDS[5], None)}
    return replace(final, users=users, ledger=final.ledger[:5], cursor=BASE + 5, replicas={})


def an_acknowledged_login_skipped(_: History, final: FinalState) -> FinalState:
    ledger = [*final.ledger[:4], replace(final.ledger[5], n=BASE + 5)]
    return replace(final, ledger=ledger, cursor=BASE + 5, replicas={})


def one_who_never_came(_: History, final: FinalState) -> FinalState:
    stranger = FirstLogin(BASE + PEOPLE + 1, UUID(int=99), START)
    return replace(final, ledger=[*final.ledger, stranger])


def a_hole(_: History, final: FinalState) -> FinalState:
    return replace(final, ledger=[*final.ledger[:5], replace(final.ledger[5], n=BASE + 7)])


def another_date(_: History, final: FinalState) -> FinalState:
    moved = replace(final.ledger[0], first_login_at=START + timedelta(hours=1))
    return replace(final, ledger=[moved, *final.ledger[1:]])


def real_time_turned_round(history: History, final: FinalState) -> FinalState:
    history.observations.clear()
    return swapped(final, 4, 5)


def a_later_winner(_: History, final: FinalState) -> FinalState:
    return replace(final, positions=[*final.positions[:2], (3, IDS[3])])


def one_winner_too_many(_: History, final: FinalState) -> FinalState:
    return replace(final, positions=[*final.positions, (4, IDS[3])], remaining=-1)


def a_position_left_out(_: History, final: FinalState) -> FinalState:
    return replace(final, positions=[(1, IDS[0]), (3, IDS[1])], remaining=1)


def a_winner_after_the_end(history: History, final: FinalState) -> FinalState:
    history.observations.clear()
    return replace(final, ends_at=final.ledger[2].first_login_at)


def a_cursor_ahead_of_its_vouchers(history: History, final: FinalState) -> FinalState:
    history.observations.append(Observation(9.0, tuple(IDS[:3]), tuple(IDS[:1]), BASE + 2))
    return final


def a_sum_that_is_wrong(_: History, final: FinalState) -> FinalState:
    return replace(final, remaining=1)


def a_cursor_beyond_the_ledger(_: History, final: FinalState) -> FinalState:
    return replace(final, cursor=BASE + PEOPLE + 1)


def a_cursor_behind_the_vouchers(history: History, final: FinalState) -> FinalState:
    history.observations.clear()
    return replace(final, cursor=BASE + 2)


def a_ledger_that_was_otherwise(history: History, final: FinalState) -> FinalState:
    history.observations.append(Observation(9.0, (IDS[1], IDS[0]), (), BASE))
    return final


def a_winner_who_was_another(history: History, final: FinalState) -> FinalState:
    history.observations.append(Observation(9.0, (), (IDS[4],), BASE))
    return final


def a_cursor_that_went_back(history: History, final: FinalState) -> FinalState:
    history.observations.append(Observation(9.0, (), (), BASE + 50))
    return final


def a_replica_with_another_message(_: History, final: FinalState) -> FinalState:
    copy = list(final.replicas["nats-2"])
    copy[2], copy[3] = copy[3], copy[2]
    return replace(final, replicas={**final.replicas, "nats-2": copy})


def a_replica_with_one_more(_: History, final: FinalState) -> FinalState:
    return replace(final, replicas={"nats-2": [*final.replicas["nats-2"], b"{}"]})


def a_voucher_shown_and_gone(history: History, final: FinalState) -> FinalState:
    history.calls.append(Call("voucher", "p5", 8, 8.1, Outcome.OK))
    return final


def a_redemption_lost(_: History, final: FinalState) -> FinalState:
    return replace(final, redemptions=final.redemptions[1:])


def a_redemption_under_another_id(history: History, final: FinalState) -> FinalState:
    history.calls.append(Call("redeem", "p1", 9, 9.1, Outcome.OK, str(UUID(int=55))))
    return final


def a_voucher_spent_twice(_: History, final: FinalState) -> FinalState:
    return replace(final, redemptions=[*final.redemptions, Redemption(UUID(int=200), IDS[0], "redeemed")])


def an_account_that_is_gone(_: History, final: FinalState) -> FinalState:
    users = {name: user for name, user in final.users.items() if name != "p2"}
    return replace(final, users=users)


def an_account_that_is_refused(history: History, final: FinalState) -> FinalState:
    history.calls.append(Call("login", "p1", 9, 9.1, Outcome.REFUSED, "invalid_credentials"))
    return final


def an_event_told_twice(_: History, final: FinalState) -> FinalState:
    return replace(final, told=[*final.told, final.told[0]])


def withdrawn(history: History, final: FinalState, **changes: object) -> FinalState:
    """Give the state in which the second winner's voucher was withdrawn and replaced, and nothing is wrong."""
    history.calls[:] = [call for call in history.calls if (call.what, call.who) != ("redeem", "p2")]
    history.calls += [
        Call("withdraw", "p2", 7, 7.1, Outcome.OK, str(IDS[1])),
        Call("redeem", "p4", 8, 8.1, Outcome.OK, str(UUID(int=104))),
    ]
    redemptions = [one for one in final.redemptions if one.user_id != IDS[1]]
    sound = replace(
        final,
        positions=[*final.positions, (4, IDS[3])],
        withdrawn=[Withdrawal(2, IDS[1], is_usable=False, is_replaced=True)],
        redemptions=[*redemptions, Redemption(UUID(int=104), IDS[3], "redeemed")],
        told=[*final.told, "3.granted", "1.withdrawn"],
    )
    return replace(sound, **changes)  # type: ignore[arg-type]  # fields of several types


def test_a_sound_withdrawal_is_passed() -> None:
    history, final = a_sound_run()
    final = withdrawn(history, final)
    assert safety_violations(history, final) == []
    assert missing(history, final, PEOPLE, NUMBER) == []
    assert missing(history, replace(final, told=final.told[:-1]), PEOPLE, NUMBER) == ["voucher events: 7 of 8"]


def what_was_withdrawn_can_be_used(history: History, final: FinalState) -> FinalState:
    return withdrawn(history, final, withdrawn=[Withdrawal(2, IDS[1], is_usable=True, is_replaced=True)])


def what_was_withdrawn_is_redeemed(history: History, final: FinalState) -> FinalState:
    redemptions = withdrawn(history, final).redemptions
    return withdrawn(history, final, redemptions=[*redemptions, Redemption(UUID(int=9), IDS[1], "redeemed")])


def a_withdrawal_that_is_lost(history: History, final: FinalState) -> FinalState:
    return withdrawn(history, final, withdrawn=[])


def a_position_used_again(history: History, final: FinalState) -> FinalState:
    return withdrawn(history, final, positions=[(1, IDS[0]), (2, IDS[3]), (3, IDS[2])])


def a_replacement_that_overtakes(history: History, final: FinalState) -> FinalState:
    return withdrawn(history, final, positions=[*final.positions, (4, IDS[4])])


def a_replacement_of_nothing(history: History, final: FinalState) -> FinalState:
    return withdrawn(history, final, withdrawn=[Withdrawal(2, IDS[1], is_usable=False, is_replaced=False)])


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (twice_in_the_ledger, "p1 is in it 2 times"),
        (an_acknowledged_login_undone, "the first login of p6 was acknowledged, and is lost"),
        (an_acknowledged_login_skipped, "order: p5 was answered before p6 asked, who has a number, and has none"),
        (one_who_never_came, "who never tried to log in"),
        (a_hole, "ledger: after 12 comes 14"),
        (another_date, "ledger: entry 8 is dated"),
        (real_time_turned_round, "order: p5 was answered before p6 asked, and comes after, as number 13"),
        (a_later_winner, "vouchers: place 3 is"),
        (one_winner_too_many, "vouchers: place 4 is"),
        (a_position_left_out, "vouchers: after position 1 comes 3"),
        (a_sum_that_is_wrong, "vouchers: 1 remain and 3 are granted of 3"),
        (a_cursor_beyond_the_ledger, "cursor: it stands at 14, the ledger at 13"),
        (a_cursor_behind_the_vouchers, "vouchers: place 3 is"),
        (a_ledger_that_was_otherwise, "ledger: what was seen at 9.000 (2 entries) is not how it ended"),
        (
            a_cursor_ahead_of_its_vouchers,
            "vouchers: at 9.000 the cursor was 9, and not all until there had theirs",
        ),
        (a_winner_after_the_end, "vouchers: place 3 is "),
        (a_winner_who_was_another, "vouchers: the winners seen at 9.000 (1) are not how it ended"),
        (a_cursor_that_went_back, "cursor: it was 57 at 9.000, and is 13"),
        (a_replica_with_another_message, "stream: on nats-2 message 10 is not entry 10"),
        (a_replica_with_one_more, "stream: on nats-2 message 14 is not entry 14"),
        (a_voucher_shown_and_gone, "vouchers: p5 was shown one, and holds none"),
        (a_redemption_lost, "redemptions: that of p1 was acknowledged"),
        (a_redemption_under_another_id, "redemptions: that of p1 was acknowledged"),
        (a_voucher_spent_twice, "spent one voucher 2 times"),
        (an_account_that_is_gone, "users: p2 was registered, and there is no such account"),
        (an_account_that_is_refused, "users: p1 has an account and was refused (invalid_credentials)"),
        (what_was_withdrawn_can_be_used, "vouchers: place 2 was withdrawn, and can be used"),
        (what_was_withdrawn_is_redeemed, "vouchers: place 2 was withdrawn, and is redeemed"),
        (a_withdrawal_that_is_lost, "was acknowledged, and is lost"),
        (a_position_used_again, "vouchers: place 2 was withdrawn from"),
        (a_replacement_that_overtakes, "vouchers: place 4 is"),
        (a_replacement_of_nothing, "vouchers: place 4 is"),
        (an_event_told_twice, "voucher events: 0.granted is in the stream 2 times"),
    ],
)
def test_what_is_wrong_is_named(plant: Plant, said: str) -> None:
    history, final = a_sound_run()
    found = safety_violations(history, plant(history, final))
    assert any(said in violation for violation in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cursor": BASE + 5}, "first logins judged: 5 of 6"),
        ({"positions": [(1, IDS[0])]}, "vouchers granted: 1 of 3"),
        ({"redemptions": []}, "vouchers redeemed: 0 of 3"),
        ({"told": []}, "voucher events: 0 of 6"),
        ({"replicas": {"nats-1": []}}, "first logins on nats-1: 0 of 6"),
    ],
)
def test_what_is_not_done_is_named(change: dict[str, object], said: str) -> None:
    history, final = a_sound_run()
    changed = replace(final, **change)  # type: ignore[arg-type]  # fields of several types
    assert said in missing(history, changed, PEOPLE, NUMBER)


def test_so_many_as_must_win_are_missing_when_nobody_counts() -> None:
    history, final = a_sound_run()
    nobody = replace(final, starts_at=START + timedelta(hours=1), positions=[], remaining=NUMBER, redemptions=[])
    assert "vouchers granted: 0 of 3" in missing(history, nobody, PEOPLE, NUMBER)
    assert missing(history, replace(nobody, told=[]), PEOPLE, 0) == []


def test_voucher_events_need_not_all_be_there_when_the_broker_lost_its_disk() -> None:
    history, final = a_sound_run()
    assert missing(history, replace(final, told=[]), PEOPLE, NUMBER, events_kept=False) == []
