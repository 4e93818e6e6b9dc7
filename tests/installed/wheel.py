"""The wheel of this source."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path) -> Path:
    """Build it as `make wheel` does: with the locked hatchling, and without a network."""
    options = "--quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation"
    command = [sys.executable, "-m", "pip", "wheel", *options.split(), "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
