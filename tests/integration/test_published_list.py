"""A published list and its receipts, by both implementations; no servers."""

import json
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from earlybird.cli.main import main
from earlybird.errors import Failure
from earlybird.events import FirstLogin
from earlybird.identity.ledger.receipts import RECEIPT_TYPE, SEAL_TYPE, signed
from earlybird.identity.ledger.seals import FIRST_SEAL, opening, public_entry, seal_each
from earlybird.operations.published.list_file import Head, PublishedCampaign, Withdrawal, entry_line, line
from earlybird.operations.published.verifying import verify

EXAMPLE = Path(__file__).parents[2] / "examples" / "verify_seals.py"
SECRET, KEY = b"secret", OKPKey.generate_key("Ed25519")
START = datetime(2026, 11, 27, 9, tzinfo=UTC)


@dataclass
class Story:
    """A ledger, and a campaign over part of it."""

    times: list[int]  # of entries 1, 2, 3, …: seconds after the start of the campaign
    first_n: int
    number: int
    ends: int | None
    replaced: list[bool]  # of the vouchers withdrawn from positions 1, 2, …

    @property
    def entries(self) -> list[FirstLogin]:
        return [FirstLogin(n, UUID(int=n), START + timedelta(seconds=at)) for n, at in enumerate(self.times, 1)]

    @property
    def seals(self) -> list[bytes]:
        return [FIRST_SEAL, *seal_each(SECRET, FIRST_SEAL, self.entries)]

    def write(self, path: Path) -> Path:
        """Write the list, from the definitions."""
        ends_at = None if self.ends is None else START + timedelta(seconds=self.ends)
        end = ends_at or START + timedelta(days=1)
        counted = [one.n for one in self.entries if one.n >= self.first_n and START <= one.first_login_at < end]
        capacity, last_n = self.number + sum(self.replaced), len(self.times)
        winners = list(enumerate(counted[:capacity], start=1))
        withdrawals = [
            Withdrawal(position=i, at=START, replaced=replaced)
            for i, replaced in enumerate(self.replaced[: len(winners)], start=1)
        ]
        number = capacity - sum(one.replaced for one in withdrawals)
        head = Head(
            campaign=PublishedCampaign(
                id="1", name="Launch", discount=30, number_of_promotion=number,
                first_n=self.first_n, starts_at=START, ends_at=ends_at,
            ),
            withdrawals=withdrawals,
            winners=winners,
            seal_before=self.seals[self.first_n - 1].hex(),
            last_n=last_n,
            seal=self.seal(last_n),
            key=dict(KEY.as_dict(private=False)),
        )  # fmt: skip
        lines = [entry_line(public_entry(SECRET, one)) for one in self.entries[self.first_n - 1 :]]
        path.write_text(line(head.model_dump(mode="json")) + "".join(lines), encoding="utf-8")
        return path

    def seal(self, n: int) -> str:
        return signed(KEY, SEAL_TYPE, {"iss": "earlybird", "n": n, "seal": self.seals[n].hex()})

    def receipt(self, n: int) -> str:
        entry = self.entries[n - 1]
        claims = {
            "n": n,
            "at": entry.first_login_at.isoformat(),
            "seal": self.seals[n].hex(),
            "sub": str(entry.user_id),
        }
        return signed(KEY, RECEIPT_TYPE, claims | {"opening": opening(SECRET, entry.user_id).hex()})


@st.composite
def stories(draw: st.DrawFn) -> Story:
    times = draw(st.lists(st.integers(-3, 9), min_size=1, max_size=12))
    first_n = draw(st.integers(1, len(times)))
    ends, replaced = draw(st.none() | st.integers(1, 9)), draw(st.lists(st.booleans(), max_size=3))
    return Story(times, first_n, draw(st.integers(0, 6)), ends, replaced)


def accepted(path: Path, receipts: Sequence[str]) -> tuple[bool, bool]:
    """Say what both implementations think of a list and its receipts: ours, and that of examples/."""
    files = []
    for i, text in enumerate(receipts):
        files.append(path.with_name(f"receipt-{i}"))
        files[-1].write_text(text)
    try:
        ours = bool(verify(path, receipts))
    except Failure:
        ours = False
    arguments, sys.argv = sys.argv, [str(EXAMPLE), str(path), *map(str, files)]
    try:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    except SystemExit as error:
        return ours, not error.code
    finally:
        sys.argv = arguments
    return ours, True


@settings(max_examples=60)
@given(story=stories(), data=st.data())
def test_both_implementations_accept_what_is_true(
    story: Story, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = story.write(tmp_path_factory.getbasetemp() / "list.jsonl")
    numbers = st.lists(st.integers(story.first_n, len(story.times)), max_size=3)
    kept = [story.receipt(n) for n in data.draw(numbers)] + [story.seal(n) for n in data.draw(numbers)]
    assert accepted(path, kept) == (True, True)


@settings(max_examples=120)
@given(story=stories(), other=stories(), data=st.data())
def test_both_implementations_refuse_the_same_and_every_change(
    story: Story, other: Story, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = story.write(tmp_path_factory.getbasetemp() / "changed.jsonl")
    head, *entries = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    kept: list[str] = []
    match data.draw(st.sampled_from(["entry", "left out", "doubled", "winner", "seal", "cut off", "other story"])):
        case "entry":
            one = data.draw(st.sampled_from(entries))
            one[2] += 1
        case "left out":
            entries.remove(data.draw(st.sampled_from(entries)))
        case "doubled":
            entries.append(data.draw(st.sampled_from(entries)))
        case "winner":
            head["winners"] = [[1, 10**6], *head["winners"][1:]]
        case "seal":
            head["seal_before"] = head["seal_before"][2:] + ("00" if head["seal_before"][:2] != "00" else "01")
            head["seal_before"] = head["seal_before"] if set(head["seal_before"]) != {"0"} else "11" * 32
        case "cut off":
            entries.pop()
        case "other story":
            n = data.draw(st.integers(story.first_n, len(story.times)))
            is_same = n < len(other.times) + 1 and other.times[:n] == story.times[:n]
            if n > len(other.times) or is_same:
                return
            kept = [data.draw(st.sampled_from([other.receipt, other.seal]))(n)]
    path.write_text(line(head) + "".join(line(entry) for entry in entries), encoding="utf-8")
    assert accepted(path, kept) == (False, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this is no earlybird-list/1"),
        ("{}\n", "this is no earlybird-list/1: campaign: Field required"),
        ("[1,2]\n", "this is no earlybird-list/1"),
    ],
)
def test_what_is_no_list_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(Failure, match=said):
        verify(tmp_path / "list")


@pytest.mark.parametrize(
    "entry", ["x", "[1]", '[1,"00","x"]', '[1,"zz",1]', '[1.0,"00",1]', '[1e400,"00",1]', '[1,"00",1e30]']
)
def test_a_line_that_is_no_entry_is_named(entry: str, tmp_path: Path) -> None:
    path = Story([1], 1, 1, None, []).write(tmp_path / "list")
    path.write_text(path.read_text().splitlines()[0] + f"\n{entry}\n")
    with pytest.raises(Failure, match="line 2 is no entry"):
        verify(path)


def test_a_signature_of_another_key_counts_for_nothing(tmp_path: Path) -> None:
    story = Story([1, 2], 1, 1, None, [])
    path = story.write(tmp_path / "list")
    other = OKPKey.generate_key("Ed25519")
    with pytest.raises(Failure, match="a signature is not of this key"):
        verify(path, keys=[dict(other.as_dict(private=False))])
    forged = signed(other, SEAL_TYPE, {"iss": "earlybird", "n": 1, "seal": story.seals[1].hex()})
    with pytest.raises(Failure, match="a signature is not of this key"):
        verify(path, [forged])


def test_the_command_prints_each_proof_or_the_first_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story([-1, 0, 1, 2], 1, 1, None, [True])
    path, place, seal = story.write(tmp_path / "list"), tmp_path / "place.json", tmp_path / "seal.json"
    place.write_text(
        json.dumps({"status": "success", "place": {"place": 1, "receipt": {"jws": story.receipt(2)}}})
    )
    seal.write_text(json.dumps({"n": 1, "jws": story.seal(1), "key": KEY.as_dict(private=False)}))
    command = ["verify", str(path), "--receipt", str(place), "--receipt", str(seal)]
    with pytest.raises(SystemExit) as end:
        main([*command, "--key", str(seal)])
    assert (end.value.code or 0) == 0
    assert capsys.readouterr().out.splitlines() == [
        "  ✓ chain: 4 entries, each sealed with all before it, up to the signed seal of entry 4",
        "  ✓ winners: of 3 counted, the first 2 of at most 2",
        "  ✓ withdrawn: 1",
        "  ✓ earlier seal of entry 1: nothing up to it has changed",
        "  ✓ receipt of entry 2, 2026-11-27 09:00:00 UTC: place 1, which won",
        "Verified: “Launch” is as it was sealed.",
    ]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[3], *lines[4:]]) + "\n")
    with pytest.raises(SystemExit) as end:
        main(command)
    assert (end.value.code, capsys.readouterr().err) == (1, "earlybird: entry 2: the file has 3 in its place\n")
