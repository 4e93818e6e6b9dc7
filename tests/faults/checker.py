"""The checker: a pure function from what was seen to what was violated. It shares no decision with production.

Safety is what may never happen; completeness is that all is done in the end, and is judged apart.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from uuid import UUID

from faults.history import FinalState, History, Outcome

Rule = Callable[[History, FinalState], Iterator[str]]


def safety_violations(history: History, final: FinalState) -> list[str]:
    """Say what happened that must never happen, the root causes first; nothing if all is well."""
    rules: Sequence[Rule] = (
        _ledger_is_dense,
        _ledger_holds_each_acknowledged_login_once,
        _ledger_repeats_the_users_dates,
        _real_time_is_respected,
        _winners_are_the_first_of_the_ledger,
        _what_was_seen_is_a_prefix,
        _replicas_repeat_the_ledger,
        _withdrawn_is_withdrawn,
        _vouchers_shown_are_there,
        _redemptions_acknowledged_are_there_once,
        _nobody_with_an_account_is_turned_away,
        _the_world_was_told_once,
    )
    return [violation for rule in rules for violation in rule(history, final)]


def missing(
    history: History, final: FinalState, people: int, at_least: int, *, events_kept: bool = True
) -> list[str]:
    """Say what is not complete; nothing when everything that had to happen has happened.

    So many must have won `at_least`, whatever the ledger says. Voucher events that the broker had acknowledged can
    be lost with its disk: not `events_kept`.
    """
    winners = {user_id for _, user_id in final.positions}
    redeemed = {one.user_id for one in final.redemptions if one.state == "redeemed"}
    expected = max(len(_entitled(final)), at_least)
    spent, events = expected - len(final.withdrawn), len(final.positions) + len(redeemed) + len(final.withdrawn)
    counts = {
        "first logins acknowledged": (len({call.who for call in history.done("login")}), people),
        "first logins in the ledger": (len(final.ledger), people),
        "first logins judged": (final.cursor - final.base, people),
        "vouchers granted": (len(winners), expected),
        "vouchers redeemed": (len(redeemed & winners), spent),
        "redemptions acknowledged": (len({call.who for call in history.done("redeem")}), spent),
        "voucher events": (len(set(final.told)), events if events_kept else 0),
        **{f"first logins on {name}": (len(copy), people) for name, copy in final.replicas.items()},
    }
    return [f"{what}: {found} of {wanted}" for what, (found, wanted) in counts.items() if found < wanted]


def _entitled(final: FinalState) -> list[UUID]:
    """Give who must have got a voucher: the first of the judged part of the ledger, within the campaign's time.

    There are N, and one more for each that was withdrawn and is replaced.
    """
    counted = [
        entry.user_id
        for entry in final.ledger
        if entry.n <= final.cursor
        and entry.first_login_at >= final.starts_at
        and (final.ends_at is None or entry.first_login_at < final.ends_at)
    ]
    return counted[: _places(final)]


def _places(final: FinalState) -> int:
    return final.number + sum(one.is_replaced for one in final.withdrawn)


def _ledger_is_dense(history: History, final: FinalState) -> Iterator[str]:
    for expected, entry in enumerate(final.ledger, start=final.base + 1):
        if entry.n != expected:
            yield f"ledger: after {expected - 1} comes {entry.n}"
            return


def _ledger_holds_each_acknowledged_login_once(history: History, final: FinalState) -> Iterator[str]:
    times = Counter(entry.user_id for entry in final.ledger)
    ids = {user.id: name for name, user in final.users.items()}
    tried = history.first_logins()
    for user_id, count in times.items():
        if count > 1:
            yield f"ledger: {ids.get(user_id, user_id)} is in it {count} times"
        if ids.get(user_id) not in tried:
            yield f"ledger: {ids.get(user_id, user_id)} is in it, who never tried to log in"
    for name in sorted({call.who for call in history.done("login")}):
        if name not in final.users:
            yield f"users: {name} logged in, and there is no such account"
        elif not times[final.users[name].id] and final.users[name].first_login_at is None:
            yield f"users: the first login of {name} was acknowledged, and is lost"


def _ledger_repeats_the_users_dates(history: History, final: FinalState) -> Iterator[str]:
    dates = {user.id: user.first_login_at for user in final.users.values()}
    for entry in final.ledger:
        if dates.get(entry.user_id) != entry.first_login_at:
            yield f"ledger: entry {entry.n} is dated {entry.first_login_at}, its user {dates.get(entry.user_id)}"


def _real_time_is_respected(history: History, final: FinalState) -> Iterator[str]:
    names, spans = {user.id: name for name, user in final.users.items()}, history.first_logins()
    latest, latest_started = "", -float("inf")
    for entry in final.ledger:
        name = names.get(entry.user_id, "")
        started, ended = spans.get(name, (-float("inf"), float("inf")))
        if ended < latest_started:
            yield f"order: {name} was answered before {latest} asked, and comes after, as number {entry.n}"
        if started > latest_started:
            latest, latest_started = name, started
    numbered = {names.get(entry.user_id) for entry in final.ledger}
    for name, (_, ended) in spans.items():
        if name not in numbered and ended < latest_started:
            yield f"order: {name} was answered before {latest} asked, who has a number, and has none"


def _winners_are_the_first_of_the_ledger(history: History, final: FinalState) -> Iterator[str]:
    for expected, (position, _) in enumerate(final.positions, start=1):
        if position != expected:
            yield f"vouchers: after position {expected - 1} comes {position}"
            break
    if not final.base <= final.cursor <= final.base + len(final.ledger):
        yield f"cursor: it stands at {final.cursor}, the ledger at {final.base + len(final.ledger)}"
    winners = [user_id for _, user_id in final.positions]
    for place, (winner, entitled) in enumerate(zip_longest(winners, _entitled(final)), start=1):
        if winner != entitled:
            yield f"vouchers: place {place} is {winner}'s and belongs to {entitled}, the cursor at {final.cursor}"
            break
    if final.remaining + len(winners) != _places(final):
        yield f"vouchers: {final.remaining} remain and {len(winners)} are granted of {_places(final)}"


def _what_was_seen_is_a_prefix(history: History, final: FinalState) -> Iterator[str]:
    ledger = tuple(entry.user_id for entry in final.ledger)
    winners = tuple(user_id for _, user_id in final.positions)
    entitled = set(_entitled(final)[: final.opened_with])
    for seen in history.observations:
        if ledger[: len(seen.ledger)] != seen.ledger:
            yield f"ledger: what was seen at {seen.at:.3f} ({len(seen.ledger)} entries) is not how it ended"
            return
        if winners[: len(seen.winners)] != seen.winners:
            yield f"vouchers: the winners seen at {seen.at:.3f} ({len(seen.winners)}) are not how it ended"
            return
        if seen.cursor > final.cursor:
            yield f"cursor: it was {seen.cursor} at {seen.at:.3f}, and is {final.cursor}"
            return
        judged = {entry.user_id for entry in final.ledger if entry.n <= seen.cursor}
        if not entitled & judged <= set(seen.winners):
            yield f"vouchers: at {seen.at:.3f} the cursor was {seen.cursor}, and not all until there had theirs"
            return


def _replicas_repeat_the_ledger(history: History, final: FinalState) -> Iterator[str]:
    expected = [entry.to_json() for entry in final.ledger]
    for server, payloads in final.replicas.items():
        for sequence, (payload, event) in enumerate(zip_longest(payloads, expected), start=final.base + 1):
            if payload is not None and payload != event:
                yield f"stream: on {server} message {sequence} is not entry {sequence} of the ledger"
                break


def _withdrawn_is_withdrawn(history: History, final: FinalState) -> Iterator[str]:
    redeemed = {one.user_id for one in final.redemptions if one.state == "redeemed"}
    holders = dict(final.positions)
    for one in final.withdrawn:
        if holders.get(one.position) != one.user_id:
            yield f"vouchers: place {one.position} was withdrawn from {one.user_id}, and is another's"
        if one.is_usable:
            yield f"vouchers: place {one.position} was withdrawn, and can be used"
        if one.user_id in redeemed:
            yield f"vouchers: place {one.position} was withdrawn, and is redeemed"
    there = {str(one.user_id) for one in final.withdrawn}
    for call in history.done("withdraw"):
        if call.detail not in there:
            yield f"vouchers: the withdrawal from {call.detail} was acknowledged, and is lost"


def _vouchers_shown_are_there(history: History, final: FinalState) -> Iterator[str]:
    holders = {user_id for _, user_id in final.positions}
    for call in history.done("voucher"):
        user = final.users.get(call.who)
        if user is None or user.id not in holders:
            yield f"vouchers: {call.who} was shown one, and holds none"


def _redemptions_acknowledged_are_there_once(history: History, final: FinalState) -> Iterator[str]:
    redeemed = [one for one in final.redemptions if one.state == "redeemed"]
    for user_id, count in Counter(one.user_id for one in redeemed).items():
        if count > 1:
            yield f"redemptions: {user_id} spent one voucher {count} times"
    there = {(str(one.id), one.user_id) for one in redeemed}
    for call in history.done("redeem"):
        if call.who not in final.users or (call.detail, final.users[call.who].id) not in there:
            yield f"redemptions: that of {call.who} was acknowledged as {call.detail}, and is lost"


def _nobody_with_an_account_is_turned_away(history: History, final: FinalState) -> Iterator[str]:
    registered = {call.who: call.ended for call in history.done("register")}
    for name in registered.keys() - final.users.keys():
        yield f"users: {name} was registered, and there is no such account"
    for call in history.calls:
        known = registered.get(call.who, float("inf")) < call.started
        if known and call.what == "login" and call.outcome is Outcome.REFUSED:
            yield f"users: {call.who} has an account and was refused ({call.detail})"


def _the_world_was_told_once(history: History, final: FinalState) -> Iterator[str]:
    for event_id, count in Counter(final.told).items():
        if count > 1:
            yield f"voucher events: {event_id} is in the stream {count} times"
