"""What stands in the outbox reaches people by real servers, however often a courier dies, or is given up."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from people import registration, running, until_logged
from post_office import post_office
from redis.asyncio import Redis
from services import Ports, environment, serving, until_ready
from structlog.testing import capture_logs
from verified_identity import SENDERS, Service, verified_identity, verifying

from crash_points import CRASH_POINTS
from earlybird.identity.contacts import courier as courier_module
from earlybird.identity.contacts import model
from earlybird.identity.contacts.courier import Courier
from earlybird.identity.contacts.outbox import Message
from earlybird.identity.contacts.senders import MailSender, Sender, build_senders
from earlybird.infra.mail import NotSent, SmtpServer
from earlybird.infra.mongo import Client
from earlybird.settings import Settings
from earlybird.stack.mailbox import Mailbox, run_mailbox
from free_ports import free_port

PEOPLE = 10
DEATHS = ("message.claimed", "message.sent")
GIVEN_UP = ("courier.before_commit", "courier.after_commit")


async def test_every_crash_point_of_verification_is_reached_here() -> None:
    parts = {"message", "courier", "contact"}
    ours = {name for name in CRASH_POINTS if name.partition(".")[0] in parts}
    assert ours == {*DEATHS, *GIVEN_UP, "contact.before_commit", "contact.after_commit"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "_POLL_SECONDS", 0.01)


def a_courier(service: Service, settings: Settings, http: httpx2.AsyncClient) -> Courier:
    return Courier(service.mongo["identity"], service.outbox, build_senders(settings, http))


async def until_empty(mongo: Client) -> None:
    """Wait until nothing waits."""
    async with asyncio.timeout(30):
        while await mongo["identity"]["message_outbox"].find_one({}):
            await asyncio.sleep(0.01)


async def free_claims(mongo: Client) -> None:
    """Let the time pass for which a dead courier has claimed messages."""
    await mongo["identity"]["message_outbox"].update_many({}, [{"$set": {"next_at": "$created_at"}}])


async def die(settings: Settings, *roles: str, crash_at: str) -> None:
    """Run roles until they have killed themselves at their crash point."""
    given = {f"EARLYBIRD_{name.upper()}": value for name, value in SENDERS.items()} | {
        "EARLYBIRD_VERIFY": settings.verify,
        "EARLYBIRD_SMTP_URL": settings.smtp_url.get_secret_value() if settings.smtp_url else "",
        "EARLYBIRD_SMTP_CA_FILE": str(settings.smtp_ca_file or ""),
        "EARLYBIRD_CRASH_AT": crash_at,
    }
    async with serving(environment(settings, Ports(), **given), *roles) as process:
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was to die at its crash point"


async def test_no_mail_is_lost_when_couriers_are_killed_and_a_repeat_is_the_same_mail(
    settings: Settings, mongo: Client, valkey: Redis, tmp_path: Path
) -> None:
    async with post_office(tmp_path) as office, httpx2.AsyncClient() as http:
        changed = verifying(settings, "email", smtp_url=office.url, smtp_ca_file=office.ca_file)
        async with verified_identity(changed, mongo, valkey) as service:
            people = [await service.register(i) for i in range(PEOPLE)]
            codes = {str(one["email"]): await service.code(one["email"]) for one in people}
            for crash_at in DEATHS:
                await die(changed, "courier", crash_at=crash_at)
                await free_claims(mongo)
            async with running(a_courier(service, changed, http), a_courier(service, changed, http)):
                await until_empty(mongo)
            came = Counter(str(mail["To"]) for mail in office.mails)
            lost = [address for address in codes if not came[address]]
            assert lost == []
            print(f"{PEOPLE} mails, {sum(came.values())} sent, {len(lost)} lost")  # noqa: T201  # pytest -rP shows it
            assert len({mail["Message-ID"] for mail in office.mails}) == PEOPLE, "a repeat has the same id"
            assert office.over_tls == {True}
            for mail in office.mails:
                code = codes[str(mail["To"])]
                assert code in mail["Subject"]
                body = mail.get_body(("plain",))
                assert body is not None
                assert code in body.get_content()
                assert (mail["From"], mail["Auto-Submitted"]) == (SENDERS["smtp_sender"], "auto-generated")
            email = "person-3@example.com"
            assert await service.confirm("person-3", email, codes[email]) == (200, "success")


@pytest.mark.parametrize("crash_at", GIVEN_UP)
async def test_what_a_server_refuses_is_given_up_once_though_the_courier_dies(
    settings: Settings, mongo: Client, valkey: Redis, tmp_path: Path, crash_at: str
) -> None:
    async with post_office(tmp_path) as office, httpx2.AsyncClient() as http:
        changed = verifying(settings, "email", smtp_url=office.url, smtp_ca_file=office.ca_file)
        async with verified_identity(changed, mongo, valkey) as service:
            await service.register(1)
            office.replies += ["550 no such person"] * 2
            await die(changed, "courier", crash_at=crash_at)
            await free_claims(mongo)
            async with running(a_courier(service, changed, http)):
                await until_empty(mongo)
            given_up = [one async for one in mongo["identity"]["audit_log"].find({"action": "message.given_up"})]
            assert [one["after"]["reason"] for one in given_up] == ["mail_refused"]
            assert "person" not in str(given_up)


class Failing:
    """A sender whose server does not answer."""

    def __init__(self) -> None:
        self.tried: list[UUID] = []

    async def send(self, message_id: UUID, message: Message) -> None:  # noqa: ARG002
        self.tried.append(message_id)
        raise NotSent("ConnectionRefusedError", is_final=False)


async def test_a_server_that_is_away_is_tried_again_and_the_message_is_given_up_with_an_alarm(
    settings: Settings, mongo: Client, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_LONGEST_WAIT_SECONDS", 0)
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        await service.register(1)
        failing = Failing()
        channels: dict[Any, Sender] = {"email": failing}
        with capture_logs() as logs:
            async with running(Courier(mongo["identity"], service.outbox, channels)):
                await until_empty(mongo)
                await until_logged(logs, "message_given_up")
        delays = [one for one in logs if one["event"] == "message_delayed"]
        assert [one["attempts"] for one in delays] == list(range(1, 10))
        assert len(failing.tried) == 10
        [alarm] = [one for one in logs if one["event"] == "message_given_up"]
        assert (alarm["log_level"], alarm["reason"]) == ("error", "ConnectionRefusedError")
        assert "person-1" not in str(logs)


async def test_what_cannot_be_opened_or_is_too_old_is_given_up(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(verifying(settings, "email_and_phone"), mongo, valkey) as service:
        await service.register(1)
        messages = mongo["identity"]["message_outbox"]
        await messages.update_one({"channel": "email"}, {"$set": {"sealed": bytes(64)}})
        await messages.update_one({"channel": "phone"}, [{"$set": {"expires_at": "$created_at"}}])
        failing = Failing()
        channels: dict[Any, Sender] = {"email": failing, "phone": failing}
        async with running(Courier(mongo["identity"], service.outbox, channels)):
            await until_empty(mongo)
        given_up = [one async for one in mongo["identity"]["audit_log"].find({"action": "message.given_up"})]
        assert sorted(one["after"]["reason"] for one in given_up) == ["cannot_be_opened", "too_late"]
        assert failing.tried == []


@pytest.mark.parametrize(("crash_at", "made"), [("contact.before_commit", 0), ("contact.after_commit", 1)])
async def test_a_registration_that_dies_leaves_account_code_and_letter_or_nothing(
    settings: Settings, mongo: Client, valkey: Redis, crash_at: str, made: int
) -> None:
    changed = verifying(settings, "email")
    given = {f"EARLYBIRD_{name.upper()}": value for name, value in SENDERS.items()}
    given |= {"EARLYBIRD_VERIFY": "email", "EARLYBIRD_CRASH_AT": crash_at}
    ports = Ports()
    async with (
        serving(environment(changed, ports, **given), "identity") as process,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.identity}") as http,
    ):
        await until_ready(http, ports.identity)
        with pytest.raises(httpx2.TransportError):
            await http.post("/register", json=registration(1))
        await process.communicate()
    for name in ("unverified_accounts", "contact_codes", "message_outbox"):
        assert await mongo["identity"][name].count_documents({}) == made


async def test_a_wrong_certificate_or_password_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    letter = Message("email", "ada@example.com", "code", "en", "123456")
    async with post_office(tmp_path / "a") as office, post_office(tmp_path / "b") as other:
        for ca_file, password, reason in (
            (other.ca_file, "p@ss word", "SSLCertVerificationError"),
            (office.ca_file, "wrong", "login_refused"),
        ):
            server = SmtpServer("localhost", office.port, "courier", password, False, "a@example.com", ca_file)
            sender = MailSender(server, "earlybird")
            with pytest.raises(NotSent) as failed:
                await sender.send(UUID(int=1), letter)
            assert (failed.value.is_final, failed.value.reason) == (False, reason)
        assert office.mails == []


async def test_short_messages_are_posted_with_a_signature_and_the_mailbox_keeps_them(
    settings: Settings, mongo: Client, valkey: Redis, tmp_path: Path
) -> None:
    smtp, sms, secret = free_port(), free_port(), SENDERS["sms_webhook_secret"]
    changed = verifying(
        settings,
        "email_and_phone",
        smtp_url=f"smtp://127.0.0.1:{smtp}",
        sms_webhook_url=f"http://127.0.0.1:{sms}/sms",
    )
    box = asyncio.create_task(run_mailbox(tmp_path / "mail", smtp, sms, secret))
    try:
        async with verified_identity(changed, mongo, valkey) as service, httpx2.AsyncClient() as http:
            ada = await service.register(1, "vi")
            codes = [await service.code(ada[channel]) for channel in ("phone", "email")]
            async with running(a_courier(service, changed, http)):
                await until_empty(mongo)
            letters = sorted(Mailbox(tmp_path / "mail").newest(10), key=lambda one: one.to)
            assert [one.to for one in letters] == [ada["phone"], ada["email"]]
            for letter, code in zip(letters, codes, strict=True):
                assert code in letter.text
            assert "ma cua ban" in letters[0].text
            assert "Mã có hiệu lực trong 10 phút" in letters[1].text
            assert {file.stat().st_mode & 0o777 for file in (tmp_path / "mail").iterdir()} == {0o600}
            forged = await http.post(f"http://127.0.0.1:{sms}/sms", json={"to": "+84", "text": "x"})
            assert forged.status_code == 401
    finally:
        box.cancel()
        await asyncio.gather(box, return_exceptions=True)
