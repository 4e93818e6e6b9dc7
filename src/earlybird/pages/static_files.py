"""Styles and scripts, under names that hold a hash of their content: browsers keep them for a year."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file: its address, and what `integrity` says of it (W3C Subresource Integrity)."""

    url: str
    integrity: str
    content: bytes
    media_type: str


class StaticFiles:
    """All files of the folder, in memory."""

    def __init__(self) -> None:
        paths = [path for path in sorted(FOLDER.rglob("*")) if path.suffix in _TYPES]
        self.by_name = {str(path.relative_to(FOLDER)): _read(path) for path in paths}
        self._by_url = {file.url: file for file in self.by_name.values()}

    def answer(self, url: str) -> Response | None:
        """Return the file at this address, to be kept for good (RFC 8246); None if there is none."""
        file = self._by_url.get(url)
        kept = {"Cache-Control": "public, max-age=31536000, immutable"}
        return None if file is None else Response(file.content, headers=kept, media_type=file.media_type)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha384(content).digest()
    url = f"/static/{path.stem}.{digest.hex()[:16]}{path.suffix}"
    return StaticFile(url, f"sha384-{base64.b64encode(digest).decode()}", content, _TYPES[path.suffix])
