"""What webhooks look like over HTTP, in both directions."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from earlybird.infra.mongo import Document
from earlybird.promotions.shapes import Body, Shown
from earlybird.promotions.webhooks.model import NOTICES, URL_CHARACTERS, VOUCHERS, Kind, Topic
from earlybird.promotions.webhooks.service import Changes, Known, since
from earlybird.text import one_line

_TOPICS = [*VOUCHERS, *NOTICES]
_KINDS = list(Kind)
_DESCRIPTION_CHARACTERS = 200


def _topic(text: object) -> Topic:
    if not isinstance(text, str) or text not in _TOPICS:
        raise ValueError(f"give {', '.join(_TOPICS)}")
    return Topic(text)


def _kind(text: object) -> Kind:
    if not isinstance(text, str) or text not in _KINDS:
        raise ValueError(f"give {', '.join(_KINDS)}")
    return Kind(text)


def _each_once(topics: list[Topic]) -> list[Topic]:
    if len(set(topics)) < len(topics):
        raise ValueError("name each once")
    return topics


ShownTopic = Annotated[
    Topic, BeforeValidator(_topic), WithJsonSchema({"type": "string", "enum": [topic.value for topic in _TOPICS]})
]
ShownKind = Annotated[
    Kind, BeforeValidator(_kind), WithJsonSchema({"type": "string", "enum": [kind.value for kind in Kind]})
]
Topics = Annotated[
    list[ShownTopic],
    Field(
        min_length=1,
        max_length=len(_TOPICS),
        description="what it is told of",
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(_each_once),
]
Address = Annotated[
    str,
    Field(
        min_length=1,
        max_length=URL_CHARACTERS,
        description="an https URL, or for mail an e-mail address",
        examples=["https://shop.example/hooks"],
    ),
]
Description = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1000,
        description=f"whose it is, in {_DESCRIPTION_CHARACTERS} characters",
        examples=["shop"],
    ),
    AfterValidator(partial(one_line, most=_DESCRIPTION_CHARACTERS)),
]


class NewWebhook(Body):
    """Body of POST /webhooks."""

    kind: ShownKind = Field(Kind.WEBHOOK, description="signed events, Slack's format, or mail")
    address: Address
    topics: Topics
    description: Description


class WebhookChanges(Body):
    """Body of PATCH /webhooks/{id}: what is left out stays."""

    address: Address | None = None
    topics: Topics | None = None
    description: Description | None = None
    is_paused: bool | None = Field(None, description="deliveries to one that is paused wait")

    def changes(self) -> Changes:
        """Return what is to change."""
        topics = None if self.topics is None else tuple(self.topics)
        return Changes(self.address, topics, self.description, self.is_paused)


class ShownWebhook(Body):
    """An endpoint, and what waits for it."""

    id: str
    kind: ShownKind
    host: str = Field(description="of the address, which may be a secret and is not shown")
    topics: list[ShownTopic]
    description: str
    is_paused: bool
    paused_because: str | None
    secret_number: int = Field(description="how many secrets it has had; one for each rotation")
    rotated_at: Shown | None
    created_at: Shown
    waiting: int = Field(description="subjects with events that wait to be delivered")
    dead: int = Field(description="subjects whose next event could not be delivered in three days")

    @classmethod
    def of(cls, known: Known) -> "ShownWebhook":
        """Show an endpoint."""
        one = known.endpoint
        return cls(
            id=str(one.id),
            kind=one.kind,
            host=one.host,
            topics=list(one.topics),
            description=one.description,
            is_paused=one.is_paused,
            paused_because=one.paused_because,
            secret_number=one.secret_number,
            rotated_at=one.rotated_at,
            created_at=one.created_at,
            waiting=known.waiting,
            dead=known.dead,
        )


class ShownDelivery(Body):
    """The next event for one subject, with what became of it so far."""

    subject: str = Field(description="what it is about: a voucher's id, a campaign's, or an alarm")
    event_id: str
    topic: str
    attempts: int
    error: str | None = Field(description="of the last attempt")
    waits_since: Shown
    next_attempt_at: Shown | None = Field(description="null: it is dead, until it is replayed")
    behind_it: int = Field(description="events of the same subject that wait for this one")

    @classmethod
    def of(cls, queue: Document) -> "ShownDelivery":
        """Show the first event of a queue."""
        first = queue["events"][0]
        return cls(
            subject=queue["subject"],
            event_id=first["id"],
            topic=first["topic"],
            attempts=queue["attempts"],
            error=queue["error"],
            waits_since=since(queue),
            next_attempt_at=queue["due_at"],
            behind_it=len(queue["events"]) - 1,
        )


class Webhook(Body):
    """One endpoint."""

    status: Literal["success"] = "success"
    webhook: ShownWebhook


class WebhookWithSecret(Webhook):
    """One endpoint, with the secret by which its receiver checks signatures. It is shown this once."""

    secret: str | None = Field(description="null for mail and Slack")


class Webhooks(Body):
    """All endpoints."""

    status: Literal["success"] = "success"
    webhooks: list[ShownWebhook]


class Deliveries(Body):
    """What waits for one endpoint, or is dead."""

    status: Literal["success"] = "success"
    deliveries: list[ShownDelivery]


class Replayed(Body):
    """How many subjects are tried again."""

    status: Literal["success"] = "success"
    replayed: int


class Done(Body):
    """It is done."""

    status: Literal["success"] = "success"
