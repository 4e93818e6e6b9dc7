"""The judge is judged first: what it must find, and what it must let pass."""

from journey.fairness import TimedLogin, first_unfairness

EARLY = TimedLogin("early", started=0.0, ended=1.0, number=1, holds_voucher=True)


def test_numbers_and_vouchers_in_the_order_of_arrival_are_fair() -> None:
    late = TimedLogin("late", started=2.0, ended=3.0, number=2, holds_voucher=False)
    assert first_unfairness([EARLY, late]) is None
    assert first_unfairness([late, EARLY]) is None


def test_a_later_login_with_the_smaller_number_is_unfair() -> None:
    later = TimedLogin("later", started=1.5, ended=2.0, number=0, holds_voucher=True)
    assert first_unfairness([later, EARLY]) == (EARLY, later)


def test_a_voucher_for_a_later_login_only_is_unfair() -> None:
    loser = TimedLogin("loser", started=0.0, ended=1.0, number=1, holds_voucher=False)
    winner = TimedLogin("winner", started=1.5, ended=2.0, number=2, holds_voucher=True)
    assert first_unfairness([winner, loser]) == (loser, winner)


def test_an_unfair_pair_is_found_among_many_fair_ones() -> None:
    fair = [TimedLogin(str(n), started=n, ended=n + 0.5, number=n, holds_voucher=n <= 10) for n in range(50)]
    assert first_unfairness(fair) is None
    overtaking = TimedLogin("overtaking", started=30, ended=30.5, number=5, holds_voucher=False)
    assert first_unfairness([*fair, overtaking]) == (fair[6], overtaking)


def test_logins_that_overlap_may_come_in_either_order() -> None:
    overlapping = TimedLogin("overlapping", started=1.0, ended=2.0, number=0, holds_voucher=True)
    loser = TimedLogin("loser", started=0.0, ended=1.0, number=1, holds_voucher=False)
    assert first_unfairness([overlapping, loser]) is None
