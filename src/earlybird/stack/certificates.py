"""An authority of one's own, and the certificates by which the parts of a deployment know each other.

Not here: who gets which (`production`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from earlybird.stack.permissions import write_private

_ORGANIZATION = "earlybird"
_AUTHORITY_DAYS, _DAYS, _RENEWED_BEFORE = 3650, 397, timedelta(days=30)  # 397: what browsers take at most
_BACKDATED = timedelta(minutes=5)  # for clocks that differ


class Authority:
    """Signs certificates (ECDSA, P-256). Its key `ca-key.pem` stays in its folder, mode 0600."""

    def __init__(self, folder: Path) -> None:
        """Read it, or make it at the first time."""
        self.file, key_file = folder / "ca.pem", folder / "ca-key.pem"
        if not self.file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name("authority", "authority")
            made = _builder(name, name, key.public_key(), _AUTHORITY_DAYS).add_extension(
                x509.BasicConstraints(ca=True, path_length=0), critical=True
            )
            write_private(key_file, _pem(key))
            self.file.write_bytes(
                made.add_extension(_usage(signs=True), critical=True)
                .sign(key, hashes.SHA256())
                .public_bytes(serialization.Encoding.PEM)
            )
        self._certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
        read = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(read, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{key_file} holds no key on an elliptic curve")
        self._key = read

    def issue(self, file: Path, unit: str, hosts: Sequence[str]) -> None:
        """Write a certificate and its key for these hosts, the first of which is its name, and our own behind it.

        Nothing is written while there is one for the same hosts with 30 days left, or one of another authority.
        """
        if file.exists() and not self._is_due(file, hosts):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        made = (
            _builder(_name(unit, hosts[0]), self._certificate.subject, key.public_key(), _DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(uses, critical=False)
            .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (made, self._certificate))
        write_private(file, chain.decode() + _pem(key))

    def _is_due(self, file: Path, hosts: Sequence[str]) -> bool:
        present = x509.load_pem_x509_certificate(file.read_bytes())
        try:
            present.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        named = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ends = present.not_valid_after_utc - _RENEWED_BEFORE
        return ends < datetime.now(UTC) or list(named) != [_general(host) for host in hosts]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Return what a key is for: to sign certificates, or to show who one is."""
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _name(unit: str, common: str) -> x509.Name:
    """Return a name. MongoDB takes whoever has its own unit for a member of the replica set."""
    parts = (
        (NameOID.ORGANIZATION_NAME, _ORGANIZATION),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, common[:64]),
    )
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
