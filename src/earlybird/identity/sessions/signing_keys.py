"""The RSA keys that sign tokens: a folder that all identity processes share, with its plan in `keys.json`."""

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey, RSAKey

from earlybird.errors import Failure
from earlybird.identity.sessions.key_plan import CLOCKS_SECONDS, PlannedKey, retired, rotated, signing, verifying
from earlybird.infra.security_log import note
from earlybird.settings import Settings

_RSA_BITS = 3072  # NIST SP 800-57: 128-bit strength, good beyond 2030
_PLAN, _DEVICE_SECRET, _CODE_SECRET, _SEAL_KEY = "keys.json", "device-secret", "code-secret", "seal-key.pem"


log = structlog.get_logger()


class SigningKeyError(Failure):
    """The keys cannot be used; the message says why and what to do."""


class KeyFolder:
    """The folder on disk. Making it, and changing it, raises SigningKeyError when it cannot be used."""

    def __init__(self, folder: Path, passphrase: str | None) -> None:
        """Open the folder, or make it with a first key (RSA-3072, mode 0600). Safe in parallel processes."""
        self._folder = folder
        self._passphrase = passphrase
        self._keys: dict[str, RSAKey] = {}
        self._read_at = -float("inf")
        with _explained(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(folder):
                if not self._plan_file.exists():
                    self._write([PlannedKey(self._make(), time.time() - CLOCKS_SECONDS, None)])
                if not (folder / _SEAL_KEY).exists():
                    made = OKPKey.generate_key("Ed25519")
                    _write_secret(folder / _SEAL_KEY, made.as_pem(private=True, password=passphrase))
            shared_secret(folder, _DEVICE_SECRET)
            self._load()

    @classmethod
    def of(cls, settings: Settings) -> "KeyFolder":
        """Open the folder that the settings name."""
        passphrase = settings.signing_key_passphrase
        return cls(settings.signing_key_folder, passphrase.get_secret_value() if passphrase else None)

    @property
    def plan(self) -> list[PlannedKey]:
        """The plan, read again once a second. Where it cannot be read, what is known goes on."""
        if time.monotonic() > self._read_at + 1:
            self._read_at = time.monotonic()
            try:
                with _explained(self._folder):
                    if self._plan_file.stat().st_mtime_ns != self._mtime:
                        self._load()
                        note("keys_changed", keys=len(self._plan))
            except SigningKeyError as error:
                log.error("signing_keys_unreadable", why=str(error))  # the logins go on; a restart may not
        return self._plan

    def device_secret(self) -> bytes:
        """Return the secret of the device cookies."""
        return shared_secret(self._folder, _DEVICE_SECRET)

    def code_secret(self) -> bytes:
        """Return the secret that keys the digests of codes. Without the file, codes that were sent are void."""
        return shared_secret(self._folder, _CODE_SECRET)

    def seal_key(self) -> OKPKey:
        """Return the key that signs receipts and seals (Ed25519). It is kept for good: so are they."""
        with _explained(self._folder):
            return OKPKey.import_key((self._folder / _SEAL_KEY).read_bytes(), password=self._passphrase)

    def signing_key(self) -> RSAKey:
        """Return the key that signs now."""
        planned = signing(self.plan, time.time())
        if planned is None:
            raise SigningKeyError(f"no key in {self._folder} signs now: earlybird keys rotate --in 0")
        return self._keys[planned.kid]

    def public_keys(self) -> dict[str, RSAKey]:
        """Return the keys that verify tokens now or will soon, by id."""
        return {key.kid: self._keys[key.kid] for key in verifying(self.plan, time.time())}

    def rotate(self, in_seconds: float) -> PlannedKey:
        """Make a key that signs from then on. What expired long ago is deleted."""
        with _explained(self._folder), _locked(self._folder):
            self._load()
            now = time.time()
            if any(key.signs_from > now for key in self._plan):
                raise SigningKeyError("a rotation is under way: earlybird keys list shows when it ends")
            plan = verifying(self._plan, now)
            expired = [key for key in self._plan if key not in plan]
            self._write(rotated(plan, self._make(), now + in_seconds))
            for key in expired:
                self._file(key.kid).unlink(missing_ok=True)
            return self._plan[-1]

    def retire(self, kid: str) -> PlannedKey:
        """Take a key out at once: whatever it signed is refused. Raises SigningKeyError for the only key."""
        with _explained(self._folder), _locked(self._folder):
            self._load()
            found = [key for key in self._plan if key.kid.startswith(kid)]
            if len(found) != 1:
                raise SigningKeyError(f"{len(found)} keys begin with {kid}: earlybird keys list shows them")
            rest = retired(self._plan, found[0].kid)
            if signing(rest, time.time()) is None:
                raise SigningKeyError(
                    "no other key signs now: first earlybird keys rotate --in 0, then retire this one"
                )
            self._write(rest)
            self._file(found[0].kid).unlink(missing_ok=True)
            return found[0]

    @property
    def _plan_file(self) -> Path:
        return self._folder / _PLAN

    def _file(self, kid: str) -> Path:
        return self._folder / f"{kid}.pem"

    def _make(self) -> str:
        key = RSAKey.generate_key(_RSA_BITS)
        key.ensure_kid()
        _write_secret(self._file(str(key.kid)), key.as_pem(private=True, password=self._passphrase))
        return str(key.kid)

    def _write(self, plan: Sequence[PlannedKey]) -> None:
        _write_secret(self._plan_file, json.dumps([asdict(key) for key in plan], indent=2).encode())
        self._load()

    def _load(self) -> None:
        self._mtime = self._plan_file.stat().st_mtime_ns
        plan = [PlannedKey(**entry) for entry in json.loads(self._plan_file.read_text())]
        self._keys = {key.kid: self._keys.get(key.kid) or self._read(key.kid) for key in plan}
        self._plan = plan

    def _read(self, kid: str) -> RSAKey:
        file = self._file(kid)
        if file.stat().st_mode & 0o007:
            raise SigningKeyError(f"{file} can be read by every user of this machine: chmod 600 it, or renew it")
        key = _signing_key(file.read_bytes(), self._passphrase)
        if key is None or key.thumbprint() != kid:
            raise SigningKeyError(f"{file} is not the private key that its name says")
        key.ensure_kid()
        return key


def _signing_key(pem: bytes, passphrase: str | None) -> RSAKey | None:
    """Return the key, or None if it is none that signs. Raises ValueError or TypeError if it cannot be read.

    OpenSSL can test whether the key's numbers are prime. That takes a tenth of a second, and was done when the key
    was made. Here one signature is made and verified instead: it shows a damaged file in a millisecond.
    """
    password = passphrase.encode() if passphrase else None
    native = load_pem_private_key(pem, password, unsafe_skip_rsa_key_validation=True)
    if not isinstance(native, RSAPrivateKey):
        return None
    try:
        native.public_key().verify(native.sign(b"a test", PKCS1v15(), SHA256()), b"a test", PKCS1v15(), SHA256())
    except InvalidSignature:
        return None
    return RSAKey(native, native, {"use": "sig", "alg": "RS256"})


def shared_secret(folder: Path, name: str) -> bytes:
    """Return 32 random bytes that all processes with this folder share, made at the first call (mode 0600).

    Raises SigningKeyError.
    """
    file = folder / name
    with _explained(folder):
        if not file.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(folder):
                if not file.exists():  # another process may have been quicker
                    _write_secret(file, secrets.token_bytes(32))
        return file.read_bytes()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SigningKeyError(f"cannot use the signing keys in {folder}: {error.strerror}") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise SigningKeyError(
            f"the signing keys in {folder} cannot be read: is EARLYBIRD_SIGNING_KEY_PASSPHRASE right?"
        ) from error


def _write_secret(file: Path, content: bytes) -> None:
    """Write beside the file and put it in its place, mode 0600, so that no reader sees half."""
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=".draft-")  # mode 0600
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    Path(draft).replace(file)
