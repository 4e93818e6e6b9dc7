"""What people are written, in their language. Pure: no I/O. A language is two letters (ISO 639)."""

import re
from dataclasses import dataclass
from typing import Literal

from earlybird.identity.contacts.model import CODE_LIFE

Language = Literal["en", "vi"]
Kind = Literal["code", "taken"]

_MINUTES = int(CODE_LIFE.total_seconds()) // 60
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*")


@dataclass(frozen=True, slots=True)
class Text:
    """A letter: a subject, and plain text; and the same in one short message."""

    subject: str
    body: str
    short: str


_TEXTS: dict[tuple[Kind, Language], Text] = {
    ("code", "en"): Text(
        "{code} is your code for {service}",
        "Your code for {service} is\n\n    {code}\n\n"
        "It is good for {minutes} minutes. Enter it where you have just registered. Give it to nobody else: we "
        "never ask for it.\n\n"
        "If this was not you, do nothing. Without the code nobody can use your address.\n",
        "{service}: your code is {code}, good for {minutes} minutes. Give it to nobody. "
        "If this was not you, do nothing.",
    ),
    ("code", "vi"): Text(
        "{code} là mã {service} của bạn",
        "Mã {service} của bạn là\n\n    {code}\n\n"
        "Mã có hiệu lực trong {minutes} phút. Hãy nhập mã tại nơi bạn vừa đăng ký. Không đưa mã cho ai khác: "
        "chúng tôi không bao giờ hỏi mã.\n\n"
        "Nếu không phải bạn đăng ký, bạn không cần làm gì. Không có mã thì không ai dùng được địa chỉ của bạn.\n",
        "{service}: ma cua ban la {code}, co hieu luc trong {minutes} phut. Khong dua ma cho ai khac. "
        "Neu khong phai ban, hay bo qua.",
    ),
    ("taken", "en"): Text(
        "You already have an account with {service}",
        "Somebody has just tried to make an account with this address at {service}. You have one already, so no "
        "code was made.\n\n"
        "If this was you, log in with the account that you have. If this was not you, do nothing: your account is "
        "as it was.\n",
        "{service}: somebody tried to register with this number. You have an account already. "
        "If this was not you, do nothing.",
    ),
    ("taken", "vi"): Text(
        "Bạn đã có tài khoản tại {service}",
        "Có người vừa thử tạo tài khoản {service} bằng địa chỉ này. Bạn đã có tài khoản, vì vậy không có mã nào "
        "được tạo.\n\n"
        "Nếu là bạn, hãy đăng nhập bằng tài khoản đang có. Nếu không phải bạn, bạn không cần làm gì: tài khoản "
        "của bạn vẫn như cũ.\n",
        "{service}: co nguoi thu dang ky bang so nay. Ban da co tai khoan. Neu khong phai ban, hay bo qua.",
    ),
}


def choose_language(accept_language: str | None) -> Language:
    """Return the language that somebody likes best of those we write (RFC 9110, 12.5.4); English if none.

    What does not read as a language is passed over. Of two that are liked alike, the first counts.
    """
    best: tuple[float, Language] = 0.0, "en"
    for part in (accept_language or "")[:200].split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            continue
        liked, name = float(found[2] or 1), found[1].lower()
        language: Language | None = "vi" if name == "vi" else "en" if name in {"en", "*"} else None
        if language is not None and best[0] < liked <= 1:
            best = liked, language
    return best[1]


def write(kind: Kind, language: Language, code: str | None, service: str) -> Text:
    """Return what to write. A short message in Vietnamese has no accents: with them it costs two messages."""
    words = {"code": code or "", "service": service, "minutes": str(_MINUTES)}
    text = _TEXTS[kind, language]
    return Text(*(part.format_map(words) for part in (text.subject, text.body, text.short)))
