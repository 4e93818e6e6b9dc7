"""`curl`, for a machine that has none."""

import sys
from pathlib import Path


def stand_in_for_curl(folder: Path) -> Path:
    """Make a `curl` that knows -s, -H, -X and -d, for a bare machine; give the folder to put on the PATH."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "curl"
    program.write_text(f"""#!{sys.executable}
import argparse, urllib.error, urllib.request
options = argparse.ArgumentParser()
options.add_argument("url")
options.add_argument("-s", action="store_true")
options.add_argument("-H", action="append", default=[])
options.add_argument("-d")
options.add_argument("-X")
given = options.parse_args()
headers = dict(header.split(": ", 1) for header in given.H)
request = urllib.request.Request(given.url, given.d.encode() if given.d else None, headers, method=given.X)
try:
    print(urllib.request.urlopen(request).read().decode(), end="")
except urllib.error.HTTPError as refusal:
    print(refusal.read().decode(), end="")
""")
    program.chmod(0o755)
    return program.parent
