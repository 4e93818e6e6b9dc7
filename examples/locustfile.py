"""A customer's journey under load: sign up, log in, look for the voucher again and again, spend it.

    pip install locust
    locust -f examples/locustfile.py --headless --users 50 --spawn-rate 10 --run-time 30s --host http://127.0.0.1:8080

Each user of locust is one customer. 503 with `Retry-After` means “not now”, and is no failure: the customer waits
and tries again. One machine sends less than a cluster can answer. So read docs/overload.md before the figures.
"""

import secrets
import time

from locust import HttpUser, between, task

PASSWORD = "correct horse battery"


class Customer(HttpUser):
    wait_time = between(0.2, 1)

    def on_start(self):
        name = f"locust-{secrets.token_hex(6)}"
        self.send(
            "/register",
            {
                "username": name,
                "email": f"{name}@example.com",
                "phone": f"+8497{secrets.randbelow(10**7):07}",
                "password": PASSWORD,
                "full_name": "Anna of the Load",
                "birthday": "1990-12-10",
            },
        )
        answer = self.send("/login", {"username": name, "password": PASSWORD})
        self.client.headers["Authorization"] = f"Bearer {answer['token']}"
        self.has_spent = False

    def send(self, path, body, **options):
        """Post until the answer is something else than “not now”; return the answer."""
        while True:
            with self.client.post(path, json=body, catch_response=True, **options) as answer:
                if answer.status_code != 503:
                    return answer.json()
                answer.success()
            time.sleep(int(answer.headers["Retry-After"]))  # gevent's: the other customers go on

    @task(9)
    def look(self):
        self.client.get("/place")
        with self.client.get("/voucher", catch_response=True) as answer:
            if answer.status_code == 400 and answer.json()["code"] == "voucher_not_found":
                answer.success()  # not everybody wins

    @task(1)
    def spend(self):
        vouchers = self.client.get("/vouchers").json()["vouchers"]
        if self.has_spent or not any(voucher["state"] == "available" for voucher in vouchers):
            return
        order = {"order_id": f"order-{secrets.token_hex(8)}", "amount": 100_000, "currency": "VND"}
        answer = self.send("/voucher/redemptions", order, headers={"Idempotency-Key": order["order_id"]})
        self.has_spent = answer["status"] == "success"
