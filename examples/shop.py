"""A shop that takes vouchers: it verifies the customer's token offline, and spends through earlybird.client.

    EARLYBIRD=http://127.0.0.1:8080 uvicorn --app-dir examples --factory shop:create_shop --port 9000

    POST /orders/{order_id}  {"amount": 100000, "card": "…"}   with the customer's token; amounts in dong

An order may be sent again whenever no answer came: every step of it is the same when it is done twice.
"""

import os
import time
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, Field

from earlybird.client import AsyncClient, ClientError, Refused, api

# With these there is no voucher to take off: the customer pays the full price.
NO_VOUCHER = {
    "voucher_not_found",
    "voucher_already_redeemed",
    "voucher_expired",
    "voucher_withdrawn",
    "amount_too_small",
}
CLAIMS = jwt.JWTClaimsRegistry(
    leeway=5,  # seconds by which two clocks may differ
    iss={"essential": True, "value": "earlybird"},
    aud={"essential": True, "value": "earlybird"},
    exp={"essential": True},
    sub={"essential": True},
)


class Keys:
    """identity's public keys. They are fetched again for a key that is new, every 30 s at most."""

    def __init__(self, client):
        self._client, self._keys, self._fetched = client, KeySet([]), float("-inf")

    async def verify(self, token):
        """Return who this is. Raises JoseError or ValueError for a token that is not good."""
        header = jws.extract_compact(token.encode()).headers()
        known = [key.kid for key in self._keys.keys]
        if header.get("kid") not in known and time.monotonic() > self._fetched + 30:
            self._keys = KeySet.import_key_set(await self._client.send(api.jwks()))
            self._fetched = time.monotonic()
        if header.get("typ") != "at+jwt" or not isinstance(header.get("kid"), str):
            raise ValueError("this is no access token of earlybird")
        claims = jwt.decode(token, self._keys, algorithms=["RS256"]).claims
        CLAIMS.validate(claims)
        return claims["sub"]


class Order(BaseModel):
    amount: int = Field(gt=0)
    card: str


async def customer(request: Request, authorization: Annotated[str, Header()] = ""):
    """The customer's id, and earlybird in the customer's name."""
    token = authorization.removeprefix("Bearer ")
    try:
        return await request.app.state.keys.verify(token), request.app.state.earlybird.as_(token)
    except (JoseError, ValueError) as error:
        raise HTTPException(401, "Please log in.", {"WWW-Authenticate": "Bearer"}) from error


def pay(order_id, card, amount):
    """Stands for your payment provider, which takes an order's money once, however often it is asked."""
    return card != "declined"


async def take_order(order_id, order, earlybird):
    """Hold the voucher, take the money, spend the voucher. Returns what was paid; None if the card was declined.

    A real shop also goes through the orders that are paid and not confirmed, before their 15 minutes are over.
    """
    try:
        held = await earlybird.send(api.reserve(api.Purchase(order_id, order.amount, "VND"), key=order_id))
    except Refused as refused:
        if refused.code not in NO_VOUCHER:
            raise
        return order.amount if pay(order_id, order.card, order.amount) else None
    if not pay(order_id, order.card, held.payable_amount):
        await earlybird.send(api.release(held.id))
        return None
    await earlybird.send(api.confirm(held.id))
    return held.payable_amount


@asynccontextmanager
async def connected(app):
    async with AsyncClient(os.environ.get("EARLYBIRD", "http://127.0.0.1:8080")) as client:
        app.state.earlybird, app.state.keys = client, Keys(client)
        yield


def create_shop():
    shop = FastAPI(title="A shop", lifespan=connected)

    @shop.post("/orders/{order_id}")
    async def place_order(order_id: str, order: Order, who: Annotated[tuple, Depends(customer)]):
        user_id, earlybird = who
        try:
            paid = await take_order(order_id, order, earlybird)
        except Refused as refused:  # such as `voucher_reserved`: another order is being paid
            raise HTTPException(409, refused.message) from refused
        except ClientError as away:
            raise HTTPException(503, "Please send the order again.", {"Retry-After": "5"}) from away
        if paid is None:
            raise HTTPException(
                402, "The card was declined, and your voucher is free again. Please make a new order."
            )
        return {"customer": user_id, "order_id": order_id, "amount": order.amount, "paid": paid}

    return shop
