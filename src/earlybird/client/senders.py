"""The two clients: they send calls, and send them again, over one connection pool each."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx2

from earlybird.client.calls import Answer, Call, Unavailable
from earlybird.client.retries import Retries, may_repeat_after

T = TypeVar("T")
Http = TypeVar("Http", httpx2.Client, httpx2.AsyncClient)
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_NEVER_SENT = httpx2.LocalProtocolError  # it cannot be sent at all: a header with a line break, for example
# A proxy of the environment is for the world outside: it does not know this machine's own addresses.
_WITHOUT_PROXY = ("all://localhost", "all://127.0.0.1", "all://[::1]")


class _Attempts:
    """The tries of one call: judges each, and says how long to wait before the next."""

    def __init__(self, call: Call[Any], retries: Retries) -> None:
        self._call, self._retries = call, retries
        self._began, self._made = time.monotonic(), 0

    def after(self, answer: Answer) -> float | None:
        """Return the pause before the next try; None if this answer is the last word."""
        self._made += 1
        if not may_repeat_after(answer, is_repeatable=self._call.is_repeatable):
            return None
        return self._pause(answer.retry_after_seconds)

    def after_failure(self, error: httpx2.HTTPError) -> float:
        """Return the pause before the next try. Raises Unavailable when there is none."""
        self._made += 1
        may_repeat = self._call.is_repeatable or isinstance(error, _NOT_SENT)
        pause = self._pause(None) if may_repeat and not isinstance(error, _NEVER_SENT) else None
        if pause is None:
            what = f"{self._call.method} {self._call.path}"
            raise Unavailable(f"{what}: no answer ({type(error).__name__})") from error
        return pause

    def _pause(self, asked_for: float | None) -> float | None:
        gone = time.monotonic() - self._began
        return self._retries.pause(self._made, gone, asked_for, random.random())  # noqa: S311  # jitter, no secret


class _Sender(ABC, Generic[Http]):
    """What both clients know. A view of a client, as of `as_`, shares its connections and does not close them."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        retries: Retries = Retries(),  # noqa: B008  # frozen
        timeout_seconds: float = 10,
        connections: int = 100,
    ) -> None:
        """Speak to the API at `url`; connect at the first call, close with the block. Raises ValueError."""
        self._url = _checked(url).rstrip("/")
        self._http: Http = self._connect(_options(timeout_seconds, connections))
        self._token = token
        self._headers = dict(headers or {})
        self._retries = retries

    @staticmethod
    @abstractmethod
    def _connect(options: dict[str, Any]) -> Http:
        """Make the pool of connections."""

    def _view(self, token: str | None, headers: Mapping[str, str] | None) -> Self:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._token = token
        view._headers = {**self._headers, **(headers or {})}
        return view

    def as_(self, token: str | None, headers: Mapping[str, str] | None = None) -> Self:
        """Return the same client in somebody's name; `headers` go with every call of theirs."""
        return self._view(token, headers)

    def _request(self, call: Call[Any]) -> dict[str, Any]:
        headers = {**self._headers, **call.headers}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return {
            "method": call.method,
            "url": self._url + call.path,
            "json": call.body,
            "params": list(call.query) or None,
            # Whoever hands on what a browser has sent hands on any character. The service judges it.
            "headers": {name: value.encode() for name, value in headers.items()},
        }


def _checked(url: str) -> str:
    """Return the address of an API. Raises ValueError, without the address, which may hold a password."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"the address of the API cannot be read: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError("the address of the API begins with http:// or https://, and names a host")
    return url


def _options(timeout_seconds: float, connections: int) -> dict[str, Any]:
    return {
        "timeout": timeout_seconds,
        "limits": httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        # One client may speak for many people: cookies are each call's own.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "mounts": dict.fromkeys(_WITHOUT_PROXY),
    }


def _answer(response: httpx2.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


class AsyncClient(_Sender[httpx2.AsyncClient]):
    """Sends calls with asyncio. `timeout_seconds` is for one try: to connect, and to wait for data."""

    @staticmethod
    def _connect(options: dict[str, Any]) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(**options)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections, of every view too. Nothing can be sent any more."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe and may help. Raises Refused or Unavailable."""
        attempts = _Attempts(call, self._retries)
        while True:
            try:
                answer = _answer(await self._http.request(**self._request(call)))
            except httpx2.HTTPError as error:
                await asyncio.sleep(attempts.after_failure(error))
                continue
            pause = attempts.after(answer)
            if pause is None:
                return call.result(answer)
            await asyncio.sleep(pause)


class Client(_Sender[httpx2.Client]):
    """Sends calls without asyncio; may be shared by threads. Otherwise like AsyncClient."""

    @staticmethod
    def _connect(options: dict[str, Any]) -> httpx2.Client:
        return httpx2.Client(**options)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections, of every view too. Nothing can be sent any more."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe and may help. Raises Refused or Unavailable."""
        attempts = _Attempts(call, self._retries)
        while True:
            try:
                answer = _answer(self._http.request(**self._request(call)))
            except httpx2.HTTPError as error:
                time.sleep(attempts.after_failure(error))
                continue
            pause = attempts.after(answer)
            if pause is None:
                return call.result(answer)
            time.sleep(pause)
