"""A customer in a real Chromium, against the whole stack: from the home page to a spent voucher."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
from stack_address import stack_url

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery"
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}
IMAGES = os.environ.get("EARLYBIRD_TEST_SCREENSHOTS")

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stack_url() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def no_policy_violations() -> Iterator[list[str]]:
    said: list[str] = []
    yield said
    assert said == []


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


def test_from_the_home_page_to_a_spent_voucher(
    browser: Browser, url: str, no_policy_violations: list[str]
) -> None:
    context, page = opened(browser, url, no_policy_violations)
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("30 % off for the first 100")
    assert_accessible(page)
    picture(page, "home", DESKTOP)
    page.goto("/sign-up")
    assert_accessible(page)
    sign_up(page, person())
    expect(page.get_by_role("heading", level=2).first).to_contain_text(
        re.compile(r"You are number \d+ of 100: 30 % off")
    )
    assert_accessible(page)
    picture(page, "voucher", PHONE)
    [cookie] = [cookie for cookie in context.cookies() if cookie.get("name") == "earlybird"]
    assert cookie.get("httpOnly")
    assert cookie.get("sameSite") == "Lax"
    assert page.evaluate("document.cookie") == ""
    with page.expect_download() as download:
        page.get_by_text("Keep the receipt").click()
    assert '"jws"' in Path(download.value.path()).read_text()
    page.goto("/my/top-up")
    assert_accessible(page)
    page.fill("#amount", "100000")
    page.get_by_role("button", name="See the price").click()
    expect(page.locator("dd").last).to_contain_text("70,000")
    assert_accessible(page)
    picture(page, "top-up", DESKTOP)
    page.get_by_role("button", name="Go on to pay").dblclick()
    expect(page.locator("[data-counts-down]")).to_have_text(re.compile(r"1[45]:\d\d"))
    assert_accessible(page)
    page.go_back()
    page.goto("/my/top-up")
    page.get_by_role("button", name="Confirm").dblclick()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Done")
    assert_accessible(page)
    page.reload()
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_text("You have the voucher again")).to_be_visible()
    assert_accessible(page)
    page.goto("/my/top-up")
    expect(page.locator(".badge")).to_have_text("usable")
    page.goto("/my/sessions")
    assert_accessible(page)
    context.close()


def test_it_all_works_without_javascript(browser: Browser, url: str, no_policy_violations: list[str]) -> None:
    context, page = opened(browser, url, no_policy_violations, java_script_enabled=False)
    sign_up(page, person())
    heading = page.get_by_role("heading", level=2).first
    for _ in range(40):
        if "number" in heading.inner_text():
            break
        page.goto("/")
    expect(heading).to_contain_text("You are number")
    page.goto("/my/top-up")
    page.fill("#amount", "50000")
    page.get_by_role("button", name="See the price").click()
    page.get_by_role("button", name="Go on to pay").click()
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Done")
    context.close()


def test_an_ended_session_leads_to_the_login_and_back(
    browser: Browser, url: str, no_policy_violations: list[str]
) -> None:
    context, page = opened(browser, url, no_policy_violations)
    name = person()
    sign_up(page, name)
    expect(page.get_by_text("You are number")).to_be_visible()
    other, elsewhere = opened(browser, url, no_policy_violations)
    elsewhere.goto("/log-in")
    elsewhere.fill("#username", name)
    elsewhere.fill("#password", PASSWORD)
    elsewhere.keyboard.press("Enter")
    expect(elsewhere.get_by_text("Log out")).to_be_visible()
    elsewhere.goto("/my/sessions")
    elsewhere.get_by_role("button", name="Log out everywhere").click()
    expect(elsewhere).to_have_url(f"{url}/")
    page.goto("/my/top-up")
    expect(page.get_by_role("status").filter(has_text="session has ended")).to_be_visible()
    assert_accessible(page)
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{url}/my/top-up")
    context.close()
    other.close()


def test_a_mistake_is_shown_at_its_field_and_what_was_typed_is_kept(
    browser: Browser, url: str, no_policy_violations: list[str]
) -> None:
    context, page = opened(browser, url, no_policy_violations, locale="vi-VN")
    page.goto("/sign-up")
    expect(page.locator("html")).to_have_attribute("lang", "vi")
    page.fill("#full_name", "Ada Lovelace")
    page.fill("#username", "ada lovelace!")
    page.keyboard.press("Enter")
    expect(page.locator("[aria-invalid]").first).to_be_visible()
    expect(page.locator("#full_name")).to_have_value("Ada Lovelace")
    expect(page.locator("#password")).to_have_value("")
    assert_accessible(page)
    page.goto("/my/nothing")
    assert_accessible(page)
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    context.close()


def test_a_lost_connection_is_said_and_recovers(
    browser: Browser, url: str, no_policy_violations: list[str]
) -> None:
    context, page = opened(browser, url, no_policy_violations)
    page.goto("/")
    context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    assert_accessible(page)
    context.set_offline(False)
    expect(page.locator("#offline")).to_be_hidden()
    context.close()


def test_by_keyboard_alone_one_signs_up_and_spends_the_voucher(
    browser: Browser, url: str, no_policy_violations: list[str]
) -> None:
    context, page = opened(browser, url, no_policy_violations)
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    press_on(page, "Sign up")
    expect(page).to_have_url(f"{url}/sign-up")
    name = person()
    told = ("Ada Lovelace", name, f"{name}@example.com", f"+8491{uuid4().int % 10**7:07}", "10121990", PASSWORD)
    for field, typed in zip(
        ("full_name", "username", "email", "phone", "birthday", "password"), told, strict=True
    ):
        tab_to(page, f"#{field}")
        page.keyboard.type(typed)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2).first).to_contain_text("You are number")
    press_on(page, "Use the voucher")
    tab_to(page, "#amount")
    page.keyboard.type("100000")
    page.keyboard.press("Enter")
    for button in ("Go on to pay", "Confirm"):
        press_on(page, button)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Done")
    context.close()


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


def test_the_first_load_is_light_and_the_voucher_is_soon_on_the_screen(
    browser: Browser, url: str, no_policy_violations: list[str]
) -> None:
    context, page = opened(browser, url, no_policy_violations)
    loaded: list[Request] = []
    page.on("requestfinished", lambda request: loaded.append(request))  # noqa: PLW0108  # Playwright marks handlers
    page.goto("/", wait_until="networkidle")
    sizes = [request.sizes() for request in loaded]
    weight = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    sign_up(page, person())
    expect(page.get_by_text("You are number")).to_be_visible()
    milliseconds = page.evaluate("performance.now()")  # since the form was sent
    sys.stdout.write(f"first load: {weight} bytes, {len(sizes)} requests; voucher after {milliseconds:.0f} ms\n")
    assert weight < 150_000
    context.close()
