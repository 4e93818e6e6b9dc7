"""The model of capacity: what it says of more people, of limits, and of a machine that is too small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.capacity.costs import MEASURED
from earlybird.capacity.model import BUSY, Launch, plan, predicted_rate
from earlybird.cli.main import main

PEOPLE = st.integers(1, 10**9)


@given(PEOPLE, st.integers(2, 10))
def test_more_people_need_as_much_more_and_meet_the_same_limit_first(users: int, times: int) -> None:
    one, more = (plan(Launch(count, 10), MEASURED) for count in (users, users * times))
    assert more.cores == pytest.approx(one.cores * times)
    assert more.mongodb_gib == pytest.approx(one.mongodb_gib * times)
    assert more.first_to_give_way.name == one.first_to_give_way.name
    assert more.most_logins_per_second == pytest.approx(one.most_logins_per_second)


@given(PEOPLE)
def test_each_part_has_processes_for_its_cores_or_a_limit(users: int) -> None:
    for part in plan(Launch(users, 10), MEASURED).parts:
        assert part.most_per_second or part.name == "nats" or part.processes * BUSY >= part.cores
        assert part.most_per_second is None or part.share_of_limit == pytest.approx(
            part.per_second / part.most_per_second
        )


@given(st.integers(1, 64), st.integers(1, 64), *[st.floats(0.01, 100)] * 3)
def test_a_rate_is_bounded_by_hashes_event_loops_and_cores(
    processes: int, cores: int, hash_ms: float, loop_ms: float, beside: float
) -> None:
    rate = predicted_rate(processes, cores, hash_ms, loop_ms, beside)
    bounds = processes * 1000 / hash_ms, processes * 1000 / loop_ms, cores * 1000 / (hash_ms + loop_ms + beside)
    assert rate == pytest.approx(min(bounds))
    assert predicted_rate(processes + 1, cores, hash_ms, loop_ms, beside) >= rate


def test_the_command_says_what_gives_way_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["capacity", "--users", "100000", "--minutes", "10"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "identity 500" in said
    assert f"First to give way: {plan(Launch(100_000, 10), MEASURED).first_to_give_way.name}" in said
