"""`python -m earlybird` is the same as `earlybird`."""

from earlybird.cli import main

main()
