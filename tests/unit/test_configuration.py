"""Every setting is documented, in one table."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from earlybird.settings import Settings

TABLE = Path(__file__).parents[2] / "docs" / "configuration.md"


def shown_default(name: str) -> str:
    """Give a setting's default as the table shows it."""
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "one per core"
    if field.default is None:
        return ""
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{value}`"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| `EARLYBIRD_")]
    expected = [
        f"| `EARLYBIRD_{name.upper()}` | {shown_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    assert rows == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("identity_port", "0"), ("mongodb_timeout_seconds", "-1"), ("password_slots", "0"), ("log_level", "loud")],
)
def test_a_setting_out_of_bounds_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EARLYBIRD_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()
