"""What people do to have their contacts verified: ask for another code, and confirm with it."""

from datetime import datetime
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.identity.accounts.model import LoginKey, NewUser, User, normalise_username
from earlybird.identity.contacts.model import (
    CODES_PER_DAY,
    CODES_PER_HOUR,
    CONFIRMS_PER_DAY,
    Contact,
    read_contact,
)
from earlybird.identity.contacts.store import ContactStore
from earlybird.identity.contacts.texts import choose_language
from earlybird.identity.throttle.guesses import Throttle, per_source
from earlybird.identity.throttle.pace import evenly
from earlybird.infra.security_log import note

_CODES = per_source(CODES_PER_HOUR, 3600), per_source(CODES_PER_DAY, 86400)
_CONFIRMS = per_source(CONFIRMS_PER_DAY, 86400)


class Contacts:
    """Verification, where the deployment asks for it. Every method raises Unavailable when cut off from MongoDB.

    No answer says who has an account: it is the same, and comes at the same times, for a contact that is nobody's.
    """

    def __init__(self, store: ContactStore, throttle: Throttle, country: str) -> None:
        self._store = store
        self._throttle = throttle
        self._country = country  # ISO 3166: of phone numbers without `+`

    async def insert(self, user_id: UUID, user: NewUser, password_hash: str, now: datetime) -> None:  # noqa: ARG002  # as UserStore.insert
        """Keep a new account until its contacts are confirmed, and send each a code.

        Raises Refusal `duplicate_…`, `too_many_attempts` when a contact was sent too many codes.
        """
        await self._store.check_names(user)
        for contact in self._store.contacts(user):
            await self._count_code(contact)
        await self._store.insert(user_id, user, password_hash, choose_language(user.accept_language))

    async def send_another(self, contact: str, source: str | None) -> None:
        """Send another code to a contact that is waited for; do nothing for any other.

        Raises Refusal `invalid_field`, `too_many_attempts`.
        """
        read = self._read(contact)
        async with evenly():
            await self._throttle.count_registration(source)
            await self._count_code(read)
            user_id = await self._store.send_another(read)
            if user_id is not None:
                note("code_requested", user=user_id)

    async def confirm(self, username: str, contact: str, code: str, source: str | None) -> None:
        """Confirm a contact of an account. With its last one the account is made, and may log in.

        Raises Refusal `invalid_field`, `too_many_attempts`, `invalid_code` (wrong, used, too old, tried too often,
        or no such account waits for this contact), and for a right code `duplicate_…`: somebody was quicker.
        """
        read = self._read(contact)
        try:
            name = normalise_username(username)
        except ValueError as error:
            raise Refusal("invalid_field", f"username: {error}.") from None
        async with evenly():
            await self._throttle.count_failure(source)
            await self._throttle.count("confirmations", name + read.address, _CONFIRMS)
            digest = await self._store.prove(read, code)
            user_id = None if digest is None else await self._store.confirm(name, read, digest)
            if user_id is None:
                note("code_refused", channel=read.channel)
                raise Refusal(
                    "invalid_code", "The code is wrong, too old, or was tried too often. Ask for another one."
                )
        note("contact_confirmed", user=user_id, channel=read.channel)

    async def find_by_login(self, keys: list[LoginKey]) -> User | None:
        """Find an account that waits for its contacts to be confirmed."""
        return await self._store.find_by_login(keys)

    async def _count_code(self, contact: Contact) -> None:
        await self._throttle.count("codes", contact.address, *_CODES)

    def _read(self, contact: str) -> Contact:
        try:
            return read_contact(contact, self._country)
        except ValueError as error:
            raise Refusal("invalid_field", f"contact: {error}.") from None
