"""Every knob, typed, with its unit in its name, read from the environment (`EARLYBIRD_…`) or a folder of secrets.

Not here: what is part of the contract and so is not a knob, such as the 30-minute token.
"""

import errno
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import phonenumbers
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

_FOLDER_VARIABLE = "EARLYBIRD_SECRETS_FOLDER"


def _country(code: str) -> str:
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("this is no country with phone numbers; give two capital letters (ISO 3166), such as VN")
    return code


def _networks(text: str) -> str:
    for one in filter(None, (part.strip() for part in text.split(","))):
        ip_network(one)
    return text


Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """The settings of one process. URLs may carry user, password and TLS, and are never printed."""

    model_config = SettingsConfigDict(env_prefix="EARLYBIRD_", env_ignore_empty=True, extra="ignore", frozen=True)

    mongodb_uri: SecretStr = Field(
        SecretStr("mongodb://127.0.0.1:27017/?replicaSet=earlybird"),
        description="MongoDB replica set; user, password and TLS as in any MongoDB connection string",
    )
    nats_url: SecretStr = Field(
        SecretStr("nats://127.0.0.1:4222"),
        description="NATS servers, comma separated; `tls://user:password@host:port` for TLS",
    )
    nats_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the NATS servers' certificates, if private"
    )
    nats_certificate_file: Path | None = Field(
        None,
        description="PEM file with certificate and key, by which NATS knows this service; in place of a password",
    )
    nats_credentials_file: Path | None = Field(
        None,
        description="credentials file (JWT and NKey) in place of a password, as Synadia Cloud and `nsc` make it",
    )
    valkey_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Valkey; `rediss://user:password@host:port/0?ssl_ca_certs=/path` for TLS",
    )
    stream_replicas: int = Field(1, ge=1, le=5, description="copies of each stream; 3 in a NATS cluster of three")

    host: str = Field("127.0.0.1", description="address that the HTTP servers listen on")
    identity_port: Port = Field(8001, description="port of the identity service")
    promotions_port: Port = Field(8002, description="port of the promotions service")
    relay_port: Port = Field(8003, description="port of the relay's health checks")
    granter_port: Port = Field(8004, description="port of the granter's health checks")
    courier_port: Port = Field(8005, description="port of the courier's health checks")
    pages_port: Port = Field(8006, description="port of the pages that people see in a browser")
    webhooks_port: Port = Field(8007, description="port of the webhooks' health checks")
    api_url: str = Field(
        "http://127.0.0.1:8080",
        description="where the pages reach the API, by a way that keeps the `X-Client-Address` that they send",
    )
    status_targets: str = Field(
        "",
        description="processes that `earlybird status` and the console look at: `name=url,name=url`",
    )
    http_certificate_file: Path | None = Field(
        None, description="PEM file with certificate and key: the HTTP servers speak TLS alone"
    )
    identity_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed identity's certificate, if private"
    )

    signing_key_folder: Path = Field(
        Path(".earlybird/signing-keys"),
        description="RSA private keys of identity; the first is made on first run, mode 0600",
    )
    signing_key_passphrase: SecretStr | None = Field(None, description="encrypts the private keys on disk")
    refuse_when_revocations_unknown: bool = Field(
        default=False,
        description="whether tokens are refused (503) while a service cannot learn which sessions have ended",
    )
    one_session_per_person: bool = Field(default=False, description="whether a login ends all earlier sessions")
    source_failed_logins: int = Field(
        1000, ge=1, description="failed logins per source address in 10 minutes; beyond it, 429"
    )
    source_registrations: int = Field(
        1000, ge=1, description="registrations per source address in an hour; beyond it, 429"
    )
    jwks_url: str = Field(
        "http://127.0.0.1:8001/.well-known/jwks.json",
        description="where promotions fetches identity's public keys",
    )
    account_url: str = Field(
        "http://127.0.0.1:8001/account",
        description="where promotions asks identity whether an account is still active",
    )
    receipt_url: str = Field(
        "http://127.0.0.1:8001/receipt",
        description="where promotions asks identity for a person's number among the first logins",
    )
    jwks_cooldown_seconds: float = Field(
        30, gt=0, description="shortest time between two fetches of the public keys"
    )
    token_issuer: str = Field("earlybird", description="`iss` of every token")
    token_audience: str = Field("earlybird", description="`aud` of every token")
    token_memory: int = Field(
        65_536, ge=0, description="verified tokens that promotions remembers at most (about 0.5 kB each)"
    )

    phone_country: Annotated[str, AfterValidator(_country)] = Field(
        "VN", description="country of phone numbers that are typed without `+` (ISO 3166, two letters)"
    )
    password_least_length: int = Field(
        8, ge=8, le=64, description="characters of a new password; 15 in production (NIST SP 800-63B-4)"
    )
    breached_passwords_file: Path | None = Field(
        None, description="file of breached passwords that nobody may choose; see docs/security.md"
    )
    service_name: str = Field("earlybird", min_length=1, description="the service's name; no password may be it")
    password_memory_kib: int = Field(19_456, ge=8, description="Argon2id memory per hash, in KiB (OWASP: 19 MiB)")
    password_iterations: int = Field(2, ge=1, description="Argon2id iterations (OWASP: 2)")
    password_slots: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="passwords hashed at once"
    )
    password_queue_seconds: float = Field(
        0.5, gt=0, description="longest wait for a slot that a login is let in for; beyond it, 503"
    )

    verify: Literal["nothing", "email", "phone", "email_and_phone"] = Field(
        "nothing", description="which contacts a new account must confirm, with a code, before its first login"
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="where the courier hands over mails: `smtp://user:password@host:587` (STARTTLS) or `smtps://…`",
    )
    smtp_sender: str | None = Field(None, description="whom mails come from: `Name <address>` or an address")
    smtp_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the mail server's certificate, if private"
    )
    sms_webhook_url: SecretStr | None = Field(
        None, description="where the courier posts short messages (https), signed after Standard Webhooks"
    )
    sms_webhook_secret: SecretStr | None = Field(
        None, description="the secret that signs them: `whsec_` and 24 to 64 bytes in base64"
    )

    webhook_key: SecretStr | None = Field(
        None,
        description="at least 32 random characters, from which the secrets of all webhooks follow",
    )
    webhook_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "", description="private networks that webhooks may be in, such as `10.1.0.0/16`; they may speak http too"
    )

    voucher_cache_seconds: float = Field(300, gt=0, description="how long a voucher is cached")
    no_voucher_cache_seconds: float = Field(1, gt=0, description="how long the lack of one is cached")

    customers_may_refund: bool = Field(
        default=True,
        description="whether a customer's own token may refund; if not, only that of a campaign manager may",
    )

    mongodb_timeout_seconds: float = Field(5, gt=0, description="longest MongoDB operation")
    mongodb_pool: int = Field(100, ge=1, description="MongoDB connections per server and process")
    valkey_timeout_seconds: float = Field(
        0.25, gt=0, description="longest wait for the cache before MongoDB is asked instead"
    )
    otlp_url: str = Field(
        "",
        description="where traces are sent (OTLP/HTTP), such as `http://127.0.0.1:4318/v1/traces`; empty: none",
    )
    trace_sampling: float = Field(
        0.01, ge=0, le=1, description="ratio of the requests that are traced, where the caller has not decided"
    )
    drain_seconds: float = Field(
        3,
        ge=0,
        description="longest time after SIGTERM that requests are still taken, so that the balancer notices",
    )
    shutdown_seconds: int = Field(10, ge=1, description="time that requests in flight get after that")
    public_docs: bool = Field(default=True, description="whether /docs and /openapi are served; not in production")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic's own hook
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, then the folder of secrets. Raises NotADirectoryError."""
        folder = os.environ.get(_FOLDER_VARIABLE)
        if folder is None:
            return init_settings, env_settings
        if not Path(folder).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{_FOLDER_VARIABLE} names no folder", folder)
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folder)
