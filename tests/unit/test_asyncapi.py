"""docs/asyncapi.yaml describes every event that the code sends, as the code sends it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from earlybird import events
from earlybird.money import LARGEST_AMOUNT
from earlybird.promotions.events import publisher

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs/asyncapi.yaml").read_text())
MESSAGES: dict[str, dict[str, Any]] = {
    message["name"]: message for message in DOCUMENT["components"]["messages"].values()
}
ENVELOPE = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}


@dataclass(frozen=True)
class Kind:
    """One event class, and how to make one."""

    type: str
    made: Callable[..., Any]
    in_envelope: frozenset[str]

    def data_fields(self) -> set[str]:
        return {field.name for field in fields(self.made)} - self.in_envelope  # type: ignore[arg-type]


VOUCHER_EVENTS: list[type[events.VoucherEvent]] = [
    events.VoucherGranted,
    events.VoucherRedeemed,
    events.VoucherRefunded,
    events.VoucherWithdrawn,
]
KINDS = [
    Kind(events.SUBJECT, events.FirstLogin, frozenset({"user_id", "traceparent"})),
    *(Kind(kind.type, kind, frozenset({"user_id", "time"})) for kind in VOUCHER_EVENTS),
]
moments = st.integers(0, 4_000_000_000_000).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(1, 2**53),
    "position": st.integers(1, 10_000_000),
    "discount": st.integers(1, 100),
    "order_id": st.from_regex(r"[!-~]{1,64}", fullmatch=True),
    "currency": st.sampled_from(["VND", "EUR", "KWD"]),
    "voucher_returned": st.booleans(),
    "traceparent": st.none() | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", fullmatch=True),
}


def value_of(name: str) -> st.SearchStrategy[Any]:
    """Give values for a field by its name, as far as the code lets them come."""
    if name in VALUES:
        return VALUES[name]
    if name.endswith("amount"):
        return st.integers(0, LARGEST_AMOUNT)
    return st.uuids() if name.endswith("_id") else moments


def validator(type_: str) -> Any:
    """Make a validator of one message's payload, which refuses what the document does not name."""
    payload = json.loads(json.dumps(MESSAGES[type_]["payload"]))
    for part in (payload, payload["properties"]["data"]):
        part["unevaluatedProperties"] = False
    return jsonschema_rs.Draft202012Validator(
        payload | {"components": DOCUMENT["components"]}, validate_formats=True
    )


VALIDATORS = {kind.type: validator(kind.type) for kind in KINDS}


def test_every_event_of_the_code_is_described_and_no_other() -> None:
    sent = {kind for kind in vars(events).values() if hasattr(kind, "to_json")} - {events.VoucherEvent}
    assert sent == {kind.made for kind in KINDS}, "a new kind of event"
    assert set(MESSAGES) == {kind.type for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
@given(data=st.data())
def test_what_the_code_sends_is_what_the_document_says(kind: Kind, data: st.DataObject) -> None:
    event = data.draw(st.builds(kind.made, **{field.name: value_of(field.name) for field in fields(kind.made)}))  # type: ignore[arg-type]
    sent = json.loads(event.to_json())
    VALIDATORS[kind.type].validate(sent)
    assert len(event.to_json()) < publisher._LONGEST_EVENT_BYTES, "it fits into the stream's limit"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_every_field_is_described_as_always_present(kind: Kind) -> None:
    payload = MESSAGES[kind.type]["payload"]
    extensions = {"traceparent"} & kind.in_envelope
    assert set(payload["required"]) == set(payload["properties"]) - extensions == ENVELOPE
    parts = [payload["properties"]["data"], *payload["properties"]["data"].get("allOf", [])]
    assert {name for part in parts for name in part["properties"]} == kind.data_fields()
    assert {name for part in parts for name in part["required"]} == kind.data_fields()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_the_examples_are_events(kind: Kind) -> None:
    for example in MESSAGES[kind.type]["examples"]:
        VALIDATORS[kind.type].validate(example["payload"])
        assert not VALIDATORS[kind.type].is_valid(example["payload"] | {"type": "another"}), "it can refuse"


def test_streams_and_subjects_are_those_of_the_code() -> None:
    channels = DOCUMENT["channels"]
    assert set(channels) == {events.STREAM, events.VOUCHER_STREAM}
    assert channels[events.STREAM]["address"] == events.SUBJECT
    assert f"`{events.VOUCHER_SUBJECTS}`" in channels[events.VOUCHER_STREAM]["description"]
    address = re.escape(channels[events.VOUCHER_STREAM]["address"]).replace(r"\*", "[a-z]+")
    for kind in VOUCHER_EVENTS:
        assert re.fullmatch(address, kind.type), "the subject is the event's type"
    assert f"kept for {publisher._KEPT_SECONDS // 86400} days" in channels[events.VOUCHER_STREAM]["description"]
    assert publisher._REPEATS_KNOWN_SECONDS == 3600, "the document says: for an hour"


def test_each_message_is_of_a_channel_and_sent_by_an_operation() -> None:
    in_channels = {
        reference["$ref"].rpartition("/")[2]
        for channel in DOCUMENT["channels"].values()
        for reference in channel["messages"].values()
    }
    in_operations = {
        reference["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        for reference in operation["messages"]
    }
    assert in_channels == in_operations == set(DOCUMENT["components"]["messages"])
