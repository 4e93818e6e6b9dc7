"""Verify a published list of earlybird: an implementation of docs/seals.md that shares no code with it.

    python verify_seals.py FILE [RECEIPT …]      receipts and seals as JWS, each in a file

It needs the standard library and `cryptography`. Exit status 0: it holds. 1: the first difference is named.
"""

import base64
import hashlib
import json
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def opened(jws, key, *kinds):
    """Return the payload of a JWS whose signature is good."""
    header, payload, signature = jws.strip().split(".")
    try:
        key.verify(decoded(signature), f"{header}.{payload}".encode())
    except InvalidSignature:
        sys.exit("a signature is not good")
    header = json.loads(decoded(header))
    if header["alg"] != "Ed25519" or header["typ"] not in kinds:
        sys.exit("what is signed is something else")
    return json.loads(decoded(payload)) | {"typ": header["typ"]}


def check_receipt(receipt, seal, commitment, at):
    if receipt["typ"] == "earlybird-receipt+jws":
        mine = hashlib.sha256(bytes.fromhex(receipt["opening"]) + uuid.UUID(receipt["sub"]).bytes).hexdigest()
        if mine != commitment:
            sys.exit(f"entry {receipt['n']}: somebody else is there than in the receipt")
        if datetime.fromisoformat(receipt["at"]) != at:
            sys.exit(f"entry {receipt['n']}: it is dated otherwise than in the receipt")
    if receipt["seal"] != seal.hex():
        sys.exit(f"entry {receipt['n']}: something up to it has changed")


def main(path, *receipts):
    with open(path, encoding="utf-8") as file:
        head = json.loads(next(file))
        if head["format"] != "earlybird-list/1":
            sys.exit("this is another format")
        key = Ed25519PublicKey.from_public_bytes(decoded(head["key"]["x"]))
        signed = opened(head["seal"], key, "earlybird-seal+jws")
        kinds = "earlybird-receipt+jws", "earlybird-seal+jws"
        kept = [opened(Path(one).read_text("utf-8"), key, *kinds) for one in receipts]
        campaign = head["campaign"]
        starts = datetime.fromisoformat(campaign["starts_at"])
        ends = campaign["ends_at"] and datetime.fromisoformat(campaign["ends_at"])
        capacity = campaign["number_of_promotion"] + sum(one["replaced"] for one in head["withdrawals"])
        seal, n, winners = bytes.fromhex(head["seal_before"]), campaign["first_n"] - 1, []
        for line in file:
            number, commitment, ms = json.loads(line)
            n += 1
            if number != n:
                sys.exit(f"entry {n}: {number} is in its place")
            canonical = n.to_bytes(8, "big") + bytes.fromhex(commitment) + ms.to_bytes(8, "big")
            seal = hashlib.sha256(seal + canonical).digest()
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
            if starts <= at and (ends is None or at < ends) and len(winners) < capacity:
                winners.append([len(winners) + 1, n])
            for receipt in kept:
                if receipt["n"] == n:
                    check_receipt(receipt, seal, commitment, at)
    if any(not campaign["first_n"] <= one["n"] <= n for one in kept):
        sys.exit("a receipt is of an entry that is not in the list")
    if (n, n, seal.hex()) != (head["last_n"], signed["n"], signed["seal"]):
        sys.exit(f"entry {n}: the chain ends otherwise than the signed seal")
    if winners != head["winners"]:
        sys.exit("the winners are others")
    positions = [one["position"] for one in head["withdrawals"]]
    if positions != sorted(set(positions)) or any(one > len(winners) for one in positions):
        sys.exit("a position was withdrawn that nobody held")
    print(f"It holds: {len(winners)} winners, entries {campaign['first_n']} to {n}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
