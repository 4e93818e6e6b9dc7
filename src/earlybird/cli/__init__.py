"""The command line: wiring only. One module per group of commands; late imports keep `--help` quick."""

from earlybird.cli.main import main

__all__ = ["main"]
