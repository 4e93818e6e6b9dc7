"""The contract to the letter, as clients meet it behind Envoy."""

import json
from collections.abc import AsyncIterator, Callable, Mapping

import httpx2
import pytest

from journey.customers import Person, assert_refused, new_person, register

JSON = {"Content-Type": "application/json"}
PATHS = ["/register", "/login"]
BODY_LIMIT_BYTES = 16 * 1024
# A client that still sends when the answer comes may miss it: up to 256 KiB the answer is sure.
FAR_OVER_LIMIT_BYTES = 200 * 1024
MARKER = "zq7marker"


async def post(http: httpx2.AsyncClient, path: str, body: bytes | AsyncIterator[bytes]) -> httpx2.Response:
    return await http.post(path, content=body, headers=JSON)


def body_for(path: str, person: Person, **changes: object) -> dict[str, object]:
    return person.registration(**changes) if path == "/register" else person.login(**changes)


@pytest.fixture
async def person(http: httpx2.AsyncClient) -> Person:
    """Somebody who has an account."""
    person = new_person()
    await register(http, person)
    return person


async def test_registering_answers_success_and_nothing_else(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/register", json=new_person().registration())
    assert answer.status_code == 200
    assert answer.json() == {"status": "success"}


async def test_logging_in_answers_a_token_and_nothing_else(http: httpx2.AsyncClient, person: Person) -> None:
    answer = await http.post("/login", json=person.login())
    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "token"}
    assert answer.json()["status"] == "success"
    assert answer.json()["token"].count(".") == 2
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "birthday", ["1990-12-10", "1990-12-10T00:00:00", "1990-12-10T08:30:00Z", "1990-12-10T08:30:00.123+07:00"]
)
async def test_a_birthday_is_an_iso_8601_date_or_datetime(http: httpx2.AsyncClient, birthday: str) -> None:
    answer = await http.post("/register", json=new_person().registration(birthday=birthday))
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"username": "ada"', id="cut off"),
        pytest.param(b"{'username': 'ada'}", id="single quotes"),
        pytest.param(b"username=ada", id="a form"),
        pytest.param(b'{"username": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"username": ' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(b"[" * 8000 + b"]" * 8000, id="8000 arrays deep"),
        pytest.param(b'{"a":' * 2500 + b"1" + b"}" * 2500, id="2500 objects deep"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'"ada"', id="a string"),
        pytest.param(b"1", id="a number"),
        pytest.param(b"null", id="null"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(http: httpx2.AsyncClient, path: str, body: bytes) -> None:
    assert_refused(await post(http, path, body), "malformed_json")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
async def test_a_body_of_another_content_type_is_refused(
    http: httpx2.AsyncClient, path: str, content_type: str | None
) -> None:
    body = json.dumps(body_for(path, new_person())).encode()
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert_refused(await http.post(path, content=body, headers=headers), "unsupported_media_type")


@pytest.mark.parametrize("path", PATHS)
async def test_every_missing_field_is_named(http: httpx2.AsyncClient, path: str) -> None:
    complete = body_for(path, new_person())
    for field in complete:
        answer = await http.post(path, json={name: value for name, value in complete.items() if name != field})
        assert_refused(answer, "missing_field")
        assert answer.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "value", [None, True, 12345678, 1.5, ["ada"], {"ada": "ada"}], ids=lambda value: type(value).__name__
)
async def test_every_field_of_a_wrong_type_is_named(http: httpx2.AsyncClient, path: str, value: object) -> None:
    for field in body_for(path, new_person()):
        answer = await http.post(path, json=body_for(path, new_person(), **{field: value}))
        assert_refused(answer, "invalid_field")
        assert answer.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("path", PATHS)
async def test_a_lone_surrogate_in_any_field_is_refused(http: httpx2.AsyncClient, path: str) -> None:
    for field in body_for(path, new_person()):
        body = json.dumps(body_for(path, new_person(), **{field: "correct\ud800horse"})).encode()
        answer = await post(http, path, body)
        assert_refused(answer, "invalid_field")
        assert answer.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_field_is_refused_and_named(http: httpx2.AsyncClient, path: str) -> None:
    answer = await http.post(path, json=body_for(path, new_person(), is_admin=1))
    assert_refused(answer, "unknown_field")
    assert answer.json()["message"].startswith("is_admin: ")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [BODY_LIMIT_BYTES + 1, FAR_OVER_LIMIT_BYTES])
async def test_a_body_that_says_it_is_over_16_kib_is_refused(
    http: httpx2.AsyncClient, path: str, size: int
) -> None:
    answer = await post(http, path, json.dumps(body_for(path, new_person())).encode().ljust(size))
    assert_refused(answer, "body_too_large")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kib", [BODY_LIMIT_BYTES // 1024, FAR_OVER_LIMIT_BYTES // 1024])
async def test_a_body_that_turns_out_to_be_over_16_kib_is_refused(
    http: httpx2.AsyncClient, path: str, kib: int
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"username": "'
        for _ in range(kib):
            yield b"a" * 1024
        yield b'"}'

    assert_refused(await post(http, path, chunks()), "body_too_large")


async def test_a_body_of_just_16_kib_is_read(http: httpx2.AsyncClient) -> None:
    body = json.dumps(new_person().registration()).encode().ljust(BODY_LIMIT_BYTES)
    assert (await post(http, "/register", body)).json() == {"status": "success"}


def full_width(text: str) -> str:
    """Give letters and digits in their full-width form, which NFKC folds back."""
    return "".join(chr(ord(character) + 0xFEE0) if character.isalnum() else character for character in text)


def spaced(phone: str) -> str:
    return f"{phone[:3]} {phone[3:6]} {phone[6:9]} {phone[9:]}"


DUPLICATES: Mapping[str, tuple[str, Callable[[Person], dict[str, object]]]] = {
    "the same user name": ("duplicate_username", lambda p: {"username": p.username}),
    "a user name in capitals": ("duplicate_username", lambda p: {"username": p.username.upper()}),
    "a user name in full-width letters": ("duplicate_username", lambda p: {"username": full_width(p.username)}),
    "the same e-mail": ("duplicate_email", lambda p: {"email": p.email}),
    "an e-mail in capitals": ("duplicate_email", lambda p: {"email": p.email.upper()}),
    "the same phone": ("duplicate_phone", lambda p: {"phone": p.phone}),
    "a phone with spaces": ("duplicate_phone", lambda p: {"phone": spaced(p.phone)}),
    "a phone with hyphens": ("duplicate_phone", lambda p: {"phone": spaced(p.phone).replace(" ", "-")}),
}


@pytest.mark.parametrize("case", DUPLICATES)
async def test_user_name_e_mail_and_phone_are_each_taken_in_every_spelling(
    http: httpx2.AsyncClient, person: Person, case: str
) -> None:
    code, changes = DUPLICATES[case]
    answer = await http.post("/register", json=new_person().registration(**changes(person)))
    assert_refused(answer, code)
    assert answer.json()["message"].startswith(code.removeprefix("duplicate_") + ": ")


INVALID: Mapping[str, Mapping[str, object]] = {
    "a user name of two letters": {"username": "ab"},
    "a user name of 33 letters": {"username": "a" * 33},
    "a user name with a space": {"username": "ada lovelace"},
    "a user name with an accent": {"username": "adé"},
    "an e-mail without a domain": {"email": "ada"},
    "an e-mail with two at signs": {"email": "ada@@example.com"},
    "a phone number too short for its country": {"phone": "09123456"},
    "a phone that cannot be": {"phone": "+84123"},
    "a password of seven characters": {"password": "1234567"},
    "a password of 129 characters": {"password": "x" * 129},
    "a blank name": {"full_name": "   "},
    "a name with a control character": {"full_name": "Ada\u0000Lovelace"},
    "a birthday on the 30th of February": {"birthday": "1990-02-30"},
    "a birthday in the future": {"birthday": "2990-12-10"},
    "a birthday of 200 years ago": {"birthday": "1815-12-10"},
}


@pytest.mark.parametrize("case", INVALID)
async def test_a_value_that_breaks_a_rule_is_refused_by_its_field(http: httpx2.AsyncClient, case: str) -> None:
    answer = await http.post("/register", json=new_person().registration(**INVALID[case]))
    assert_refused(answer, "invalid_field")
    assert answer.json()["message"].startswith(f"{next(iter(INVALID[case]))}: ")


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(
    http: httpx2.AsyncClient, person: Person
) -> None:
    wrong = await http.post("/login", json=person.login(password="guess"))
    unknown = await http.post("/login", json=new_person().login())
    assert_refused(wrong, "invalid_credentials")
    assert_refused(unknown, "invalid_credentials")
    assert wrong.content == unknown.content


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(lambda p: p.username, id="user name"),
        pytest.param(lambda p: p.username.upper(), id="user name in capitals"),
        pytest.param(lambda p: p.email, id="e-mail"),
        pytest.param(lambda p: p.email.title(), id="e-mail with capitals"),
        pytest.param(lambda p: p.phone, id="phone"),
        pytest.param(lambda p: spaced(p.phone), id="phone with spaces"),
    ],
)
async def test_people_log_in_by_user_name_e_mail_or_phone(
    http: httpx2.AsyncClient, person: Person, spelling: Callable[[Person], str]
) -> None:
    answer = await http.post("/login", json=person.login(username=spelling(person)))
    assert (answer.status_code, answer.json()["status"]) == (200, "success")


async def test_a_password_fits_however_the_keyboard_composes_it(http: httpx2.AsyncClient) -> None:
    person = new_person()
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    await http.post("/register", json=person.registration(password=composed))
    answer = await http.post("/login", json=person.login(password=decomposed))
    assert (answer.status_code, answer.json()["status"]) == (200, "success")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/register", "POST"),
        ("/login", "POST"),
        ("/voucher", "GET, HEAD"),
        ("/.well-known/jwks.json", "GET, HEAD"),
    ],
)
async def test_a_method_that_an_address_does_not_take_is_refused_with_those_it_takes(
    http: httpx2.AsyncClient, path: str, allowed: str
) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed.split(", ")):
        answer = await http.request(method, path)
        assert_refused(answer, "method_not_allowed", status=405)
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/register/", "/register/nothing", "/login/", "/voucher/", "/voucher/nothing"),
        *("/.well-known/nothing", "/docs/", "/docs/static/nothing", "/openapi.json", "/readyz", "/healthz"),
    ],
)
async def test_an_address_where_nothing_is_says_so(http: httpx2.AsyncClient, path: str) -> None:
    assert_refused(await http.get(path), "not_found", status=404)


async def test_the_key_set_has_its_keys_and_no_private_part(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"keys"}
    for key in answer.json()["keys"]:
        assert set(key) == {"kty", "kid", "use", "alg", "n", "e"}
        assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


def assert_says_nothing_sent(answer: httpx2.Response) -> None:
    assert answer.status_code in {400, 404}
    for text in (answer.text, *answer.headers.keys(), *answer.headers.values()):
        assert MARKER not in text.casefold()


@pytest.mark.parametrize("path", PATHS)
async def test_no_refusal_repeats_the_value_of_a_field(http: httpx2.AsyncClient, path: str) -> None:
    for field in body_for(path, new_person()):
        for value in (f"{MARKER}\t!", [MARKER], {MARKER: MARKER}, MARKER * 40):
            body = body_for(path, new_person(), **{field: value})
            if path == "/register" and field in {"full_name", "password"} and isinstance(value, str):
                body |= {"birthday": MARKER}  # these take almost any text
            assert_says_nothing_sent(await http.post(path, json=body))


@pytest.mark.parametrize("path", PATHS)
async def test_no_refusal_repeats_a_body_that_cannot_be_read(http: httpx2.AsyncClient, path: str) -> None:
    bodies: list[object] = [MARKER, [MARKER], body_for(path, new_person(), other=MARKER)]
    bodies += [body_for(path, new_person(), **{f"{MARKER} <b>": 1})]
    for body in bodies:
        assert_says_nothing_sent(await http.post(path, json=body))
    for raw in (MARKER.encode(), b'{"username": "' + MARKER.encode()):
        assert_says_nothing_sent(await post(http, path, raw))
        assert_says_nothing_sent(await http.post(path, content=raw, headers={"Content-Type": f"text/{MARKER}"}))


async def test_no_refusal_repeats_what_is_taken_or_who_tried_to_log_in(http: httpx2.AsyncClient) -> None:
    n = new_person().phone
    marked = Person(
        f"{MARKER}-{n[3:]}", f"{MARKER}-{n[3:]}@example.com", n, password=f"{MARKER} horse battery staple"
    )
    await register(http, marked)
    other = new_person()
    for field in ("username", "email", "phone"):
        changes = {field: marked.registration()[field], "full_name": MARKER, "password": marked.password}
        answer = await http.post("/register", json=other.registration(**changes))
        assert_refused(answer, f"duplicate_{field}")
        assert_says_nothing_sent(answer)
        assert n not in answer.text
    assert_says_nothing_sent(await http.post("/login", json=marked.login(password=f"not {MARKER}")))
    assert_says_nothing_sent(await http.post("/login", json=marked.login(username=f"{MARKER}@example.com")))


async def test_no_refusal_repeats_a_token_an_address_or_a_query(http: httpx2.AsyncClient) -> None:
    for header in (f"Bearer {MARKER}", f"Basic {MARKER}", f"Bearer {MARKER}.{MARKER}.{MARKER}", MARKER):
        assert_says_nothing_sent(await http.get("/voucher", headers={"Authorization": header}))
    for address in (f"/{MARKER}", f"/voucher/{MARKER}", f"/.well-known/{MARKER}", f"/voucher?{MARKER}={MARKER}"):
        assert_says_nothing_sent(await http.get(address))
