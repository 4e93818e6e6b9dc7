"""The pages without a browser: whose form it is, what a browser may run, whose language, which files."""

import base64
import re
import string
from pathlib import Path

import pytest

from earlybird.pages import languages, session
from earlybird.pages.customer.amounts import minor_units
from earlybird.pages.headers import POLICY
from earlybird.pages.static_files import FOLDER, StaticFiles

PAGES = Path(languages.__file__).parent
ORIGIN = "https://earlybird.example"
OWN = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}


def test_a_form_of_our_own_is_taken() -> None:
    assert session.is_own_form("token", session.csrf_token("token"), OWN, ORIGIN)


@pytest.mark.parametrize(
    ("cookie", "sent", "headers"),
    [
        ("token", session.csrf_token("another"), OWN),
        ("token", "", OWN),
        ("token", "ü", OWN),
        ("", session.csrf_token(""), OWN),
        ("token", session.csrf_token("token"), OWN | {"origin": "https://evil.example"}),
        ("token", session.csrf_token("token"), OWN | {"sec-fetch-site": "cross-site"}),
        ("token", session.csrf_token("token"), OWN | {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_form_of_another_session_or_site_is_not_taken(cookie: str, sent: str, headers: dict[str, str]) -> None:
    assert not session.is_own_form(cookie, sent, headers, ORIGIN)


def test_a_visitor_has_no_token_and_no_two_visitors_are_alike() -> None:
    assert session.token_of(session.new_visitor()) is None
    assert session.new_visitor() != session.new_visitor()
    assert session.token_of("eyJ.a.b") == "eyJ.a.b"


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/my//evil", "/my\\evil", "/log-out", "", "/my\n"]
)
def test_after_the_login_nobody_is_led_to_another_site(path: str) -> None:
    assert session.safe_return(path) == "/"


def test_after_the_login_one_is_back_where_one_was() -> None:
    assert session.safe_return("/my/top-up") == "/my/top-up"


def test_the_policy_lets_nothing_run_inline_and_nothing_come_from_elsewhere() -> None:
    assert POLICY.startswith("default-src 'none'")
    assert "unsafe" not in POLICY
    assert not re.search(r"https?:|\*|data:", POLICY)


def test_no_template_has_an_inline_script_style_or_handler() -> None:
    for template in (PAGES / "templates").glob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:|\|\s*safe", text), (
            template
        )


def test_vendored_files_are_those_that_were_taken_in() -> None:
    files = StaticFiles().by_name
    lines = (FOLDER / "vendor" / "SHA384SUMS").read_text().splitlines()
    noted = {name: digest for digest, name in map(str.split, lines)}
    held = {path.name for path in (FOLDER / "vendor").iterdir() if path.suffix in {".js", ".css"}}
    assert set(noted) == held
    for name, digest in noted.items():
        assert files[f"vendor/{name}"].integrity == "sha384-" + base64.b64encode(bytes.fromhex(digest)).decode()


def test_a_file_has_its_hash_in_its_name_and_is_kept_for_good() -> None:
    files = StaticFiles()
    answer = files.answer(files.by_name["app.css"].url)
    assert answer is not None
    assert "immutable" in answer.headers["cache-control"]
    assert files.answer("/static/app.css") is None


def test_every_sentence_is_in_every_language_with_the_same_gaps() -> None:
    english, *others = languages.Words().by_language.values()

    def gaps(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for other in others:
        assert list(other) == list(english)
        assert [gaps(text) for text in other.values()] == [gaps(text) for text in english.values()]


def test_every_sentence_that_is_said_is_written_and_every_one_written_is_said() -> None:
    sources = [*PAGES.rglob("*.html"), *PAGES.rglob("*.py")]
    text = "\n".join(source.read_text() for source in sources)
    said = set(re.findall(r"say\(\s*['\"]([a-z_.]+)['\"]\s*[,)]", text))
    written = set(languages.Words().by_language["en"])
    made = {
        key for key in written if key.startswith(("refused.", "error.", "place.", "hint.", "state.", "spent."))
    }
    assert said <= written
    assert written - made <= said


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        (None, "", "en"),
        (None, "vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        (None, "fr, en;q=0.5, vi;q=0.7", "vi"),
        (None, "vi;q=0, fr", "en"),
        (None, "vi;q=much", "en"),
        ("en", "vi", "en"),
        ("xx", "vi", "vi"),
    ],
)
def test_the_language_is_the_chosen_one_or_what_the_browser_likes_best(
    cookie: str | None, accept: str, language: str
) -> None:
    assert languages.preferred(cookie, accept) == language


@pytest.mark.parametrize(
    ("typed", "currency", "amount"),
    [
        ("100000", "VND", 100_000),
        (" 100000 ", "VND", 100_000),
        ("12.50", "USD", 1250),
        ("12.5", "USD", 1250),
        ("12", "USD", 1200),
        ("100.000", "VND", None),
        ("100,000", "VND", None),
        ("12.505", "USD", None),
        ("1e5", "VND", None),
        ("٣", "VND", None),
        ("-1", "VND", None),
        ("0", "VND", None),
        ("", "VND", None),
        ("1" * 13, "VND", None),
    ],
)
def test_an_amount_is_taken_as_typed_or_not_at_all(typed: str, currency: str, amount: int | None) -> None:
    assert minor_units(typed, currency) == amount
