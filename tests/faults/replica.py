"""Reads one NATS server's own copy of a stream, from its files: by its protocol, any replica may answer.

The format is that of nats-server's file store: records one after another in numbered block files, each of
length (4 bytes, top bit: has headers), sequence (8), time (8), length of subject (2), subject, with headers their
length (4) and themselves, payload, checksum (8); all little-endian.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

_HEAD = struct.Struct("<IQqH")
_LENGTH = struct.Struct("<I")
_CHECKSUM_BYTES = 8
_HAS_HEADERS = 1 << 31
_NO_MESSAGE = 1 << 63 | 1 << 62  # erased, or a mark that one was deleted


def read_replica(store: Path, stream: str, first: int) -> list[bytes]:
    """Give the payloads from sequence `first` on, as they lie on the disk; none if the stream is not there.

    Where a sequence does not follow the one before, saying so takes the place of the payload, and is the end.
    """
    blocks = sorted(
        (store / "jetstream" / "$G" / "streams" / stream / "msgs").glob("*.blk"), key=lambda block: int(block.stem)
    )
    payloads: list[bytes] = []
    expected = 1
    for block in blocks:
        for sequence, payload in _records(block.read_bytes()):
            if sequence != expected:
                return [*payloads, f"after {expected - 1} comes {sequence}".encode()]
            expected += 1
            if sequence >= first:
                payloads.append(payload)
    return payloads


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give sequence and payload of every whole record; the last may be on its way to the disk."""
    start = 0
    while start + _HEAD.size <= len(data):
        length, sequence, _, subject_bytes = _HEAD.unpack_from(data, start)
        end = start + (length & ~_HAS_HEADERS)
        if end > len(data) or end <= start:
            return
        place = start + _HEAD.size + subject_bytes
        if length & _HAS_HEADERS:
            place += _LENGTH.size + _LENGTH.unpack_from(data, place)[0]
        if not sequence & _NO_MESSAGE:
            yield sequence, data[place : end - _CHECKSUM_BYTES]
        start = end
