"""What is asked, as a value, and how an answer is read. No I/O."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class ClientError(Exception):
    """The call was not done, as far as the client knows."""


class Refused(ClientError):
    """The service refused the call: `code` is stable and for programs, `message` is for people.

    `status` is the HTTP status. `retry_after_seconds` says when to come back; None if that would change nothing.
    """

    def __init__(self, code: str, message: str, status: int, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ClientError):
    """There was no answer, or none that could be used, however often the call was sent: try again later.

    What was asked may have been done or not. Sending the same Call again is safe where `is_repeatable`.
    """

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def retry_after_seconds(self) -> int | None:
        """What `Retry-After` says; None without it, or when it is a date."""
        value = self.headers.get("retry-after", "")
        return int(value) if value.isascii() and value.isdigit() else None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read.

    `is_repeatable`: sending it twice does no more than sending it once.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    body: Mapping[str, Any] | None = None
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True

    def with_headers(self, headers: Mapping[str, str]) -> "Call[T]":
        """Return the call with these headers too."""
        return replace(self, headers={**self.headers, **headers})

    def result(self, answer: Answer) -> T:
        """Read an answer. Raises Refused, or Unavailable for one that is not the service's."""
        if 200 <= answer.status < 300:
            try:
                return self.read(answer)
            except (ValidationError, KeyError, TypeError, ValueError, RecursionError) as error:
                raise Unavailable(f"{self.method} {self.path}: the answer is not one of earlybird's") from error
        code, message = _refusal(answer)
        if code is None or answer.status in {502, 503, 504}:
            raise Unavailable(message, answer.retry_after_seconds or 1)
        raise Refused(code, message, answer.status, answer.retry_after_seconds)


def refusal_code(answer: Answer) -> str | None:
    """Return the code of a refusal; None for what no service of ours has said."""
    return _refusal(answer)[0]


def _refusal(answer: Answer) -> tuple[str | None, str]:
    try:
        body = json.loads(answer.content)
        return str(body["code"]), str(body["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, f"The service answered {answer.status}, and nothing that can be read."


def reader(kind: Any, *path: str) -> Callable[[Answer], Any]:  # noqa: ANN401  # any type that pydantic reads
    """Return what reads this type of thing from a JSON answer, at this path of names."""
    adapter = TypeAdapter(kind)

    def read(answer: Answer) -> Any:  # noqa: ANN401
        found = json.loads(answer.content)
        for name in path:
            found = found[name]
        return adapter.validate_python(found)

    return read


def query(**parameters: object) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a URL; those that are None are left out."""
    return tuple((name, _text(value)) for name, value in parameters.items() if value is not None)


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as JSON has them: times in ISO 8601."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in fields.items()}


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
