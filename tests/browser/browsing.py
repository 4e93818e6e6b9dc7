"""What a person does in a browser, in the words of the tests."""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

PASSWORD = "correct horse battery"
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}
IMAGES = os.environ.get("EARLYBIRD_TEST_SCREENSHOTS")


def opened(browser: Browser, url: str, said: list[str], **options: Any) -> tuple[BrowserContext, Page]:
    context = browser.new_context(base_url=url, **({"locale": "en-GB", "viewport": DESKTOP} | options))
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if "Security Policy" in message.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return context, page


def sign_up(page: Page, name: str) -> None:
    page.goto("/sign-up")
    page.fill("#full_name", "Ada Lovelace")
    page.fill("#username", name)
    page.fill("#email", f"{name}@example.com")
    page.fill("#phone", f"+8491{uuid4().int % 10**7:07}")
    page.fill("#birthday", "1990-12-10")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")


def log_in(page: Page, name: str, target: str) -> None:
    """Log in on the way to a page."""
    page.goto(target)
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/log-in" not in url)


def person() -> str:
    return f"ada_{uuid4().hex[:10]}"


def assert_accessible(page: Page) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for size in (PHONE, DESKTOP):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            found = Axe().run(page)
            assert found.violations_count == 0, (page.url, scheme, size, found.generate_report())
    page.emulate_media(color_scheme="light")


def picture(page: Page, name: str, size: dict[str, int]) -> None:
    if IMAGES:
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=Path(IMAGES) / f"{name}.png")


def tab_to(page: Page, selector: str) -> None:
    for _ in range(30):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the Tab key does not lead to {selector}")


def press_on(page: Page, name: str) -> None:
    expect(page.get_by_text(name, exact=True).last).to_be_visible()
    for _ in range(30):
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            with page.expect_navigation():
                page.keyboard.press("Enter")
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the Tab key does not lead to {name}")
