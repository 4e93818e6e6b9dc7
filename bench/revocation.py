"""How long after POST /logout each service still takes the token: median and 99th percentile.

python bench/revocation.py DATA_DIR [sessions]      of a local stack that runs there
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

import httpx2

PERSON = {
    "username": "revocation-bench",
    "email": "revocation@bench.example",
    "phone": "+84912999999",
    "password": "correct horse battery",
    "full_name": "Somebody",
    "birthday": "1990-12-10",
}


async def main(data_dir: Path, sessions: int) -> None:
    stack = json.loads((data_dir / "stack.json").read_text())
    kinds = ("identity", "promotions")
    services = [one["port"] for name, one in stack["processes"].items() if name.startswith(kinds)]
    async with httpx2.AsyncClient(base_url=stack["url"], timeout=20) as http:
        await http.post("/register", json=PERSON)
        delays: list[float] = []
        for _ in range(sessions):
            answer = await http.post("/login", json={name: PERSON[name] for name in ("username", "password")})
            bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
            (await http.post("/logout", headers=bearer)).raise_for_status()
            ended_at = time.perf_counter()
            delays += await asyncio.gather(*(until_refused(http, port, bearer, ended_at) for port in services))
    cuts = statistics.quantiles(delays, n=100)
    print(f"{len(delays)} refusals by {len(services)} processes: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")


async def until_refused(http: httpx2.AsyncClient, port: int, bearer: dict[str, str], ended_at: float) -> float:
    """Return after how many milliseconds this process refuses the token."""
    path = f"http://127.0.0.1:{port}"
    while True:
        for route in ("/vouchers", "/sessions"):  # of promotions, of identity
            if (await http.get(path + route, headers=bearer)).status_code == 401:
                return (time.perf_counter() - ended_at) * 1000


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int((sys.argv[2:] or ["100"])[0])))
