"""Which processes are asked, and where."""

from collections.abc import Mapping

from earlybird.errors import Failure


def parse_targets(text: str) -> Mapping[str, str]:
    """Read name=url,name=url. Raises Failure."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    for name, _, url in pairs:
        if not name or not url.startswith(("http://", "https://")):
            raise Failure(
                "name the processes like this: identity-1=http://10.0.0.1:8001,relay=http://10.0.0.2:8003"
            )
    if len({name for name, _, _ in pairs}) != len(pairs):
        raise Failure("two processes have the same name: call them identity-1, identity-2")
    return {name.strip(): url.strip().rstrip("/") for name, _, url in pairs}
