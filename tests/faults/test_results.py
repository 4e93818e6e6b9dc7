"""What is known of the matrix, from one `make faults` to the next."""

from dataclasses import replace
from pathlib import Path

from faults.results import read_results, record_result
from faults.run import Result

OLD = Result("killed: relay", 0, 400, 7, [], [], 1.5, 0.25, 9.5, 14.5)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "faults.jsonl"
    results = [OLD, replace(OLD, seed=1, violations=["order"], recovery_seconds=None, during=3, harness=2)]
    for one in results:
        record_result(one, file)
    assert read_results(file) == results


def test_a_run_made_again_takes_the_place_of_the_one_before_it_and_of_no_other(tmp_path: Path) -> None:
    file = tmp_path / "faults.jsonl"
    others = [replace(OLD, seed=1), replace(OLD, cell="killed: granter")]
    again = replace(OLD, unknown=8, harness=2)
    for one in [OLD, *others, again]:
        record_result(one, file)
    assert read_results(file) == [*others, again]


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_results(tmp_path / "faults.jsonl") == []
