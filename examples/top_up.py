"""A customer's day with earlybird's client: sign up, log in, see the place, use the voucher on a top-up.

    python top_up.py [ADDRESS]      of a stack of `earlybird up`; http://127.0.0.1:8000 if none is given

Each run invents a person. Exit status 0: paid. 1: there was no voucher, and it says why.
"""

import secrets
import sys
import time

from earlybird.client import Client, Refused, Unavailable, api


def sign_up(client, username, password):
    phone = f"+8491{secrets.randbelow(10**7):07}"
    email = f"{username}@example.com"
    client.send(
        api.register(
            username=username,
            email=email,
            phone=phone,
            password=password,
            full_name="Ada Lovelace",
            birthday="1990-12-10",
        )
    )


def until_judged(me, patience_seconds=30):
    """Return the place in the line: the first login gets its number a moment after the answer to the login."""
    deadline = time.monotonic() + patience_seconds
    while (place := me.send(api.place())).standing == "waiting" and time.monotonic() < deadline:
        time.sleep(0.1)
    return place


def until_granted(me, patience_seconds=30):
    """Return the voucher of a winner, which comes right after the place."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return me.send(api.voucher())
        except Refused as refused:
            if refused.code != "voucher_not_found" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def pay(me):
    # The call carries its idempotency key: however often it is sent, by the client or by us, one voucher is held.
    hold = api.reserve(api.Purchase("topup-1", 100_000, "VND"))
    held = me.send(hold)
    if me.send(hold) != held:
        sys.exit("the same call was done twice")
    # Here a payment of `held.payable_amount` would run; `api.release` is for one that fails.
    spent = me.send(api.confirm(held.id))
    print(f"Paid {spent.payable_amount} {spent.currency} in place of {spent.amount}.")


def main(address):
    username, password = f"ada-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    with Client(address) as client:
        sign_up(client, username, password)
        me = client.as_(client.send(api.log_in(username, password)).token)
        place = until_judged(me)
        if not place.has_won:
            sys.exit(f"No voucher: {place.standing}, place {place.place} of {place.total}.")
        voucher = until_granted(me)
        print(f"Number {place.place} of {place.total}: {voucher.discount} % off.")
        pay(me)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
    except Refused as refused:
        sys.exit(f"Refused ({refused.code}): {refused.message}")
    except Unavailable as away:
        sys.exit(f"Not reached: {away}")
