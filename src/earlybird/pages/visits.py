"""One request of a person: their session, language and API client, and how a page is made for them."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from babel.dates import format_datetime
from babel.numbers import format_currency, format_decimal, get_currency_precision
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse

from earlybird.client import AsyncClient, Call, Refused
from earlybird.pages import languages, session
from earlybird.pages.static_files import StaticFiles

T = TypeVar("T")
LANGUAGE_SECONDS = 365 * 24 * 3600
_ENDED = frozenset({"invalid_token", "missing_token"})


class LoginNeeded(Exception):
    """The page is for somebody who is logged in; `had_session` if one has ended."""

    def __init__(self, *, had_session: bool) -> None:
        super().__init__("log in")
        self.had_session = had_session


class StaleForm(Exception):
    """A form is not of this session: it is too old, or another site sent it."""


class Look:
    """The templates, words and files: what pages are made of."""

    def __init__(self) -> None:
        self.words = languages.Words()
        self.files = StaticFiles()
        loader = FileSystemLoader(Path(__file__).parent / "templates")
        self.templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


class Visit:
    """A request, with what the pages know of who sent it."""

    def __init__(self, request: Request, look: Look, client: AsyncClient) -> None:
        self.request = request
        self._look, self._client = look, client
        self.is_secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        self._name = session.cookie_name(is_secure=self.is_secure)
        held = request.cookies.get(self._name, "")
        self.is_new = not held
        self.cookie = held or session.new_visitor()
        self.token = session.token_of(self.cookie)
        accept = request.headers.get("accept-language", "")
        self.language = languages.preferred(request.cookies.get(languages.COOKIE), accept)

    async def send(self, call: Call[T]) -> T:
        """Ask the API in this person's name. Raises LoginNeeded for an ended session, Refused, Unavailable."""
        passed_on = {"X-Client-Address": self.request.headers.get("x-client-address", "")}
        passed_on["User-Agent"] = self.request.headers.get("user-agent", "")
        try:
            return await self._client.as_(self.token, {k: v for k, v in passed_on.items() if v}).send(call)
        except Refused as refused:
            if self.token and refused.code in _ENDED:
                raise LoginNeeded(had_session=True) from refused
            raise

    def require_login(self) -> None:
        """Raise LoginNeeded for a visitor."""
        if self.token is None:
            raise LoginNeeded(had_session=False)

    async def form(self) -> dict[str, str]:
        """Return the fields that were sent. Raises StaleForm."""
        sent = await self.request.form()
        fields = {name: value for name, value in sent.items() if isinstance(value, str)}
        scheme = "https" if self.is_secure else "http"
        origin = f"{scheme}://{self.request.headers.get('host', '')}"
        proof = fields.pop("csrf", "") or self.request.headers.get("x-csrf-token", "")
        if not session.is_own_form(self.cookie, proof, self.request.headers, origin):
            raise StaleForm
        return fields

    def say(self, key: str, **values: object) -> str:
        """Return a sentence in the person's language."""
        return self._look.words.say(self.language, key, **values)

    def explain(self, code: str, message: str) -> str:
        """Return why something was refused: in the person's language if we have the words, else the API's own."""
        key = f"refused.{code}"
        return self.say(key) if self._look.words.knows(key) else message

    def state(self, state: str) -> str:
        """Name the state of a voucher; one that we have no words for, as the API names it."""
        key = f"state.{state}"
        return self.say(key) if self._look.words.knows(key) else state

    def time(self, moment: datetime) -> str:
        """Write a time as people do, in UTC, and say so; the script shows the browser's own zone."""
        return f"{format_datetime(moment, 'medium', locale=self.language)} UTC"

    def number(self, value: int) -> str:
        """Write a number as people do."""
        return format_decimal(value, locale=self.language)

    def money(self, amount: int, currency: str) -> str:
        """Write an amount of minor units as people do."""
        value = Decimal(amount).scaleb(-get_currency_precision(currency))
        return format_currency(value, currency, locale=self.language)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401
        """Return a page, or a part of one, and give a new visitor a cookie."""
        made = self._look.templates.get_template(template).render(
            visit=self,
            say=self.say,
            csrf=session.csrf_token(self.cookie),
            files=self._look.files.by_name,
            languages=languages.NAMES,
            **values,
        )
        response = HTMLResponse(made, status)
        if self.is_new:
            self.keep(response, self.cookie)
        return response

    def go(self, path: str) -> Response:
        """Send the browser on to a page by GET."""
        return RedirectResponse(path, 303)

    def keep(self, response: Response, value: str) -> None:
        """Give the browser this session. A token outlives its 30 minutes there, so that the end can be told."""
        response.set_cookie(self._name, value, path="/", secure=self.is_secure, httponly=True, samesite="lax")

    def log_in_page(self, *, had_session: bool) -> Response:
        """Send the browser to the log-in page, and from there back to here."""
        is_part = "hx-request" in self.request.headers  # of a page: the browser is to leave the page as a whole
        here = self.request.url.path if self.request.method == "GET" and not is_part else "/"
        reason = "&ended=1" if had_session else ""
        target = f"/log-in?next={quote(here)}{reason}"
        response = Response(headers={"HX-Redirect": target}) if is_part else self.go(target)
        if had_session:
            self.keep(response, session.new_visitor())
        return response
