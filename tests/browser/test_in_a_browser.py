"""Customers, managers and support in a real Chromium, against the whole stack."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from browsing import (
    DESKTOP,
    PASSWORD,
    PHONE,
    assert_accessible,
    log_in,
    opened,
    person,
    picture,
    press_on,
    sign_up,
    tab_to,
)
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from stack_address import Stack, running_stack

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack() as one:
        yield one


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return stack.url


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
    until_ended(page, "/my/top-up")
    expect(page.get_by_role("status").filter(has_text="session has ended")).to_be_visible()
    assert_accessible(page)
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{url}/my/top-up")
    context.close()
    other.close()


def until_ended(page: Page, path: str) -> None:
    """Open a page again and again, until the session has ended everywhere: it takes a second or so."""
    deadline = time.monotonic() + 10
    page.goto(path)
    while "/log-in" not in page.url and time.monotonic() < deadline:
        page.wait_for_timeout(100)
        page.goto(path)


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


def test_a_manager_runs_a_campaign_and_support_looks_on(
    browser: Browser, stack: Stack, no_policy_violations: list[str]
) -> None:
    names = {role: person() for role in ("campaign_manager", "support")}
    for role, name in names.items():
        context, page = opened(browser, stack.url, no_policy_violations)
        sign_up(page, name)
        expect(page.get_by_text("You are number")).to_be_visible()
        context.close()
        stack.command("user", "grant-role", name, role)

    context, page = opened(browser, stack.url, no_policy_violations)
    log_in(page, names["campaign_manager"], "/console")
    page.get_by_role("link", name="Launch").click()
    expect(page.locator(".u-wrap")).to_be_visible()
    expect(page.locator("#plot-note")).to_have_text("Live")
    assert_accessible(page)

    # Somebody logs in: the plot and the figures move by themselves.
    granted = page.locator("[data-figure=granted]")
    before = int(granted.inner_text())
    other, elsewhere = opened(browser, stack.url, no_policy_violations)
    winner = person()
    sign_up(elsewhere, winner)
    expect(elsewhere.get_by_text("You are number")).to_be_visible()
    shown_at = elsewhere.evaluate("Date.now()")
    expect(granted).to_have_text(str(before + 1))
    sys.stdout.write(f"live plot: {page.evaluate('Date.now()') - shown_at} ms after the winner saw it\n")
    other.close()
    picture(page, "console", DESKTOP)

    # A change is shown, and confirmed, before it is made.
    page.fill("#number_of_promotion", "120")
    page.get_by_role("button", name="Preview the change").click()
    expect(page.locator("main")).to_contain_text("0 people get a voucher at once")
    assert_accessible(page)
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("main")).to_contain_text("Vouchers")
    page.get_by_role("link", name="Winners").click()
    page.fill("#search", winner)
    page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_text("Download as CSV").click()
    assert winner in Path(download.value.path()).read_text()

    # A voucher is taken back; the person's timeline says so, and why.
    page.get_by_role("link", name="Withdrawals").click()
    assert_accessible(page)
    page.fill("#person", winner)
    page.fill("#reason", "a second account")
    page.get_by_role("button", name="Preview").click()
    assert_accessible(page)
    page.get_by_role("button", name="Take it back for good").click()
    page.get_by_role("link", name="see").click()
    expect(page.locator(".timeline")).to_contain_text("a second account")
    expect(page.get_by_role("heading", level=1)).to_have_text(winner)
    assert_accessible(page)
    # A webhook is added; its secret is shown this once.
    page.goto("/console/webhooks")
    assert_accessible(page)
    page.fill("#address", "https://10.0.0.1/hooks")
    page.fill("#description", "shop")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("private network")
    page.fill("#address", "https://shop.example/hooks")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status").filter(has_text="whsec_")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("link", name="shop.example").click()
    expect(page.locator("main")).not_to_contain_text("whsec_")
    assert_accessible(page)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("main")).to_contain_text("paused")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("main")).to_contain_text("Nobody is told of anything yet.")
    for address in ("/console", "/console/campaigns/new", "/console/people", "/console/log", "/console/health"):
        page.goto(address)
        assert_accessible(page)
    expect(page.locator("main")).to_contain_text("granter")

    # The connection is lost: the page says so, and goes on when it is back.
    page.goto("/console")
    page.get_by_role("link", name="Launch").click()
    expect(page.locator("#plot-note")).to_have_text("Live")
    context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    context.set_offline(False)
    expect(page.locator("#offline")).to_be_hidden()

    # Support sees the same, and nothing to change it by; a customer sees nothing.
    helping, desk = opened(browser, stack.url, no_policy_violations)
    log_in(desk, names["support"], "/console")
    desk.get_by_role("link", name="Launch").click()
    expect(desk.locator(".u-wrap")).to_be_visible()
    expect(desk.get_by_role("button", name="Preview the change")).to_have_count(0)
    customer, outside = opened(browser, stack.url, no_policy_violations)
    log_in(outside, winner, "/console")
    expect(outside.get_by_role("link", name="Launch")).to_have_count(0)
    expect(outside.get_by_role("heading", level=1)).to_be_visible()
    for one in (context, helping, customer):
        one.close()


def test_who_comes_too_late_sees_when_the_last_winner_came(
    browser: Browser, stack: Stack, no_policy_violations: list[str]
) -> None:
    manager = person()
    context, page = opened(browser, stack.url, no_policy_violations)
    sign_up(page, manager)
    expect(page.get_by_text("You are number")).to_be_visible()
    stack.command("user", "grant-role", manager, "campaign_manager")
    context.close()

    context, page = opened(browser, stack.url, no_policy_violations)
    log_in(page, manager, "/console")
    page.get_by_role("link", name="Launch").click()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Close it").click()
    page.goto("/console/campaigns/new")
    page.fill("#name", "Small")
    page.fill("#discount", "20")
    page.fill("#number_of_promotion", "1")
    for button in ("Preview", "Create", "Open now", "Open it"):
        page.get_by_role("button", name=button).click()
    expect(page.get_by_text("open", exact=True)).to_be_visible()
    context.close()

    said = []
    for _ in range(2):
        context, page = opened(browser, stack.url, no_policy_violations)
        sign_up(page, person())
        expect(page.get_by_text(re.compile("You (are|were) number"))).to_be_visible()
        said.append(page.locator("main").inner_text())
        assert_accessible(page)
        context.close()
    assert "You are number 1 of 1: 20 % off" in said[0]
    assert "You were number 2." in said[1]
    assert "Number 1, the last to get one, came at" in said[1]


def test_who_guesses_is_told_how_long_to_wait(browser: Browser, url: str, no_policy_violations: list[str]) -> None:
    context, page = opened(browser, url, no_policy_violations)
    name = person()
    sign_up(page, name)
    expect(page.get_by_text("Log out")).to_be_visible()
    context.close()
    context, page = opened(browser, url, no_policy_violations)
    page.goto("/log-in")
    for _ in range(11):
        page.fill("#username", name)
        page.fill("#password", "a wrong password")
        with page.expect_navigation():
            page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Please try again in")).to_be_visible()
    expect(page.locator("#username")).to_have_value(name)
    assert_accessible(page)
    context.close()
