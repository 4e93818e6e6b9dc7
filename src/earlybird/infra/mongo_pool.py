"""The pool of connections to MongoDB, counted as PyMongo tells of it (the CMAP specification)."""

from typing import Any

from pymongo.monitoring import ConnectionPoolListener

from earlybird.metrics import POOL_CONNECTIONS, POOL_WAITING


class PoolMetrics(ConnectionPoolListener):
    """Counts connections that are open, those in use, and operations that wait for one."""

    def __init__(self) -> None:
        self._open, self._used = POOL_CONNECTIONS.labels("open"), POOL_CONNECTIONS.labels("in_use")

    def connection_created(self, _: Any) -> None:  # noqa: ANN401  # as PyMongo calls it, here and below
        """Count a new connection."""
        self._open.inc()

    def connection_closed(self, _: Any) -> None:  # noqa: ANN401
        """Count a connection that is gone."""
        self._open.dec()

    def connection_check_out_started(self, _: Any) -> None:  # noqa: ANN401
        """Count an operation that wants a connection."""
        POOL_WAITING.inc()

    def connection_check_out_failed(self, _: Any) -> None:  # noqa: ANN401
        """Count an operation that got none."""
        POOL_WAITING.dec()

    def connection_checked_out(self, _: Any) -> None:  # noqa: ANN401
        """Count a connection that is used."""
        POOL_WAITING.dec()
        self._used.inc()

    def connection_checked_in(self, _: Any) -> None:  # noqa: ANN401
        """Count a connection that is free again."""
        self._used.dec()

    def connection_ready(self, _: Any) -> None:  # noqa: ANN401
        """Take note of nothing."""

    def pool_created(self, _: Any) -> None:  # noqa: ANN401
        """Take note of nothing."""

    def pool_ready(self, _: Any) -> None:  # noqa: ANN401
        """Take note of nothing."""

    def pool_cleared(self, _: Any) -> None:  # noqa: ANN401
        """Take note of nothing."""

    def pool_closed(self, _: Any) -> None:  # noqa: ANN401
        """Take note of nothing."""
