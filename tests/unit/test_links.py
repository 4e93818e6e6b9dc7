"""Every link in every page leads somewhere, as GitHub reads it, and the site's menu names every page."""

import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
MENU = DOCS / "site" / "zensical.toml"
_MARKDOWN = MarkdownIt("commonmark").enable("table")


def tokens(page: Path) -> Iterator[Token]:
    """Give all that a page is made of; code holds no links."""
    for token in _MARKDOWN.parse(page.read_text()):
        yield token
        yield from token.children or ()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings: the second of two alike ends in -1."""
    found: set[str] = set()
    parts = _MARKDOWN.parse(page.read_text())
    for opening, inline in pairwise(parts):
        if opening.type != "heading_open":
            continue
        text = "".join(one.content for one in inline.children or () if one.type in {"text", "code_inline"})
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        alike = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one) is not None for one in found)
        found.add(f"{slug}-{alike}" if alike else slug)
    return found


def targets(page: Path) -> Iterator[str]:
    """Give every link and picture of a page; also those in HTML."""
    for token in tokens(page):
        if token.type in {"link_open", "image"}:
            yield str(token.attrs.get("href") or token.attrs.get("src"))
        elif token.type in {"html_block", "html_inline"}:
            yield from re.findall(r'(?:href|src)="([^"]+)"', token.content)


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere in this repository."""
    found = []
    for target in targets(page):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        there = page.parent / unquote(parts.path) if parts.path else page
        if not there.exists() or (parts.fragment and unquote(parts.fragment) not in anchors(there)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One\n\n## Two, and “three” – `four`\n\n## Two, and “three” – `four`\n")
    good = [
        "other.md",
        "other.md#one",
        "other.md#two-and-three--four",
        "other.md#two-and-three--four-1",
        "#here",
        ".",
    ]
    bad = ["none.md", "other.md#none", "other.md#two-and-three--four-2", "#none", "none/"]
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n\n"
        + "\n".join(f"[{target}]({target})" for target in [*good, *bad])
        + '\n\n`[code](none.md)`\n\n```\n[code](none.md)\n```\n\n<img src="none.png">\n\n![a picture](none.svg)\n'
        + "\n[elsewhere](https://example.com/none)\n"
    )
    assert broken(page) == [*bad, "none.png", "none.svg"]


def test_a_fault_of_the_built_site_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "site")
    build = import_module("build")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.html").write_text('<h1 id="one">One</h1>')
    page = tmp_path / "folder" / "page.html"
    page.write_text(
        '<link rel="canonical" href="https://example.com/"><a href="https://example.com/">elsewhere</a>'
    )
    good = '<a href="../other.html#one">one</a><a href="#"></a><script src="../other.html"></script>'
    page.write_text(page.read_text() + good)
    assert list(build.faults(tmp_path)) == []
    bad = '<a href="../none.html"></a><a href="../other.html#two"></a><script src="https://example.com/a.js"></script>'
    page.write_text(page.read_text() + bad + '<link rel="stylesheet" href="//example.com/a.css">')
    assert sorted(build.faults(tmp_path)) == [
        "folder/page.html: ../none.html leads nowhere",
        "folder/page.html: ../other.html#two has no such anchor",
        "folder/page.html: loads //example.com/a.css",
        "folder/page.html: loads https://example.com/a.js",
    ]


def in_menu() -> set[str]:
    def names(part: object) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from names(one)

    return set(names(tomllib.loads(MENU.read_text())["project"]["nav"]))


def test_the_menu_of_the_site_names_every_page() -> None:
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page.parent.name != "decisions"}
    assert pages - in_menu() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_diagram_has_a_semicolon_for_mermaid_ends_a_statement_there(page: Path) -> None:
    diagrams = [token.content for token in tokens(page) if token.type == "fence" and token.info == "mermaid"]
    assert [line for diagram in diagrams for line in diagram.splitlines() if ";" in line] == []
