"""The documentation site in a real Chromium: every diagram is drawn, and nothing is asked of anybody else."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
SITE = "http://site.example"

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="needs zensical: make docs"),
]


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, ROOT / "docs" / "site" / "build.py", folder], check=True)
    return folder / "html"


@pytest.fixture
def page(html: Path) -> Iterator[Page]:
    """A page whose requests are answered from the site's folder; one to anybody else is an error."""
    strangers = []

    def answer(route: Route) -> None:
        file = html / unquote(urlsplit(route.request.url).path).lstrip("/")
        if route.request.url.startswith(f"{SITE}/") and file.is_file():
            route.fulfill(path=file)
        else:
            strangers.append(route.request.url)
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.route("**/*", answer)
        yield page
        browser.close()
    assert strangers == []


def test_every_diagram_is_drawn(page: Page, html: Path) -> None:
    drawn = 0
    for file in html.rglob("*.html"):
        if count := file.read_text().count('<pre class="mermaid">'):
            page.goto(f"{SITE}/{file.relative_to(html).as_posix()}")
            expect(page.locator("div.mermaid")).to_have_count(count, timeout=30_000)
            drawn += count
    assert drawn > 15


def test_a_page_is_found_by_a_word(page: Page) -> None:
    page.goto(f"{SITE}/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("failover")
    expect(page.get_by_text("What is the order across a failover?").first).to_be_visible()
