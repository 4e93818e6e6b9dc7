"""The RSA private key that signs tokens: a file that all identity processes of a machine share."""

import os
import tempfile
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from earlybird.errors import Failure

_RSA_BITS = 3072  # NIST SP 800-57: 128-bit strength, good beyond 2030


class SigningKeyError(Failure):
    """The key file cannot be used; the message says why and what to do."""


def load_or_create_signing_key(path: Path) -> RSAKey:
    """Read the private key, or make one (RSA-3072, mode 0600) if there is none.

    Safe to call from several processes at once: all get the same key. Raises SigningKeyError.
    """
    try:
        if not path.exists():
            _create_signing_key(path)
        if path.stat().st_mode & 0o007:
            raise SigningKeyError(f"{path} can be read by every user of this machine: chmod 600 it, or renew it")
        key = RSAKey.import_key(path.read_bytes(), {"use": "sig", "alg": "RS256"})
    except OSError as error:
        raise SigningKeyError(f"cannot read or create the signing key {path}: {error.strerror}") from error
    except (JoseError, ValueError) as error:
        raise SigningKeyError(f"{path} is no RSA private key in PEM form") from error
    if not key.is_private:
        raise SigningKeyError(f"{path} holds a public key; the private one is needed")
    key.ensure_kid()  # the RFC 7638 thumbprint
    return key


def _create_signing_key(path: Path) -> None:
    """Write a new key beside `path` and link it there: the first link wins, and no reader sees half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".signing-key-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(RSAKey.generate_key(_RSA_BITS).as_pem(private=True))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        Path(draft).unlink()
