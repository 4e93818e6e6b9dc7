"""The fork server of the local stack imports this module before it forks: it imports all that any role needs."""

import gc

gc.disable()  # what is imported stays

import earlybird.cli.services  # noqa: E402
import earlybird.identity.app  # noqa: E402
import earlybird.pages.app  # noqa: E402
import earlybird.promotions.app  # noqa: E402, F401

gc.freeze()
