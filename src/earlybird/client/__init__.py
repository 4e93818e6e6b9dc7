"""The typed client of the public API, with and without asyncio.

    from earlybird.client import Client, api

    with Client("https://earlybird.example") as client:
        login = client.send(api.log_in("ada.lovelace", "correct horse battery"))
        ada = client.as_(login.token)
        order = api.redeem(api.Purchase("topup-1", 100_000, "VND"))
        print(ada.send(order).payable_amount)  # and again: the same answer, spent once

`api` has a function for each route. It returns a Call, a value that knows how it is sent, whether it may be sent
twice, and what comes back. `send` sends it. An idempotency key is made with the call and stays with it. So a call
that is sent again, by the client or by you, is done once.
"""

from earlybird.client import api
from earlybird.client.calls import Call, ClientError, Refused, Unavailable
from earlybird.client.retries import Retries
from earlybird.client.senders import AsyncClient, Client

__all__ = ["AsyncClient", "Call", "Client", "ClientError", "Refused", "Retries", "Unavailable", "api"]
