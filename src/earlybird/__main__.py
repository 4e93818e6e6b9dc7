"""`python -m earlybird` is the same as `earlybird`."""

from earlybird.cli import main

if __name__ == "__main__":
    main()
