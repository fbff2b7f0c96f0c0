"""Compare an import with `--upsert` with two passes: python -m benchmark.moving_in [--users 12000 --orders 50000].

The two passes are a PUT for each user and then the import without `--upsert`. Both use two connections and the local
stack, and alternate in one run. Each round has new users and orders. Prints the seconds of each and the ratio.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from local import stack

CONNECTIONS = 2
FIRST_ORDER = 1_577_836_800  # 2020-01-01, in Unix seconds
FIVE_YEARS = 5 * 365 * 86_400


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmark.moving_in", description=__doc__)
    parser.add_argument("--users", type=int, default=12_000)
    parser.add_argument("--orders", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    print("| round | one pass, s | two passes, s | of these, users, s | one / two |")
    print("| --- | --- | --- | --- | --- |")
    with stack.running() as it, tempfile.TemporaryDirectory() as folder:
        key = it.create_key("shop")
        for number in range(arguments.rounds):
            one, two = (Path(folder, f"{number}-{passes}.csv") for passes in ("one", "two"))
            for path in (one, two):
                write_orders(path, arguments.users, arguments.orders)
            ways = [partial(one_pass, it, key, one), partial(two_passes, it, key, two, arguments.users)]
            seconds = dict(way() for way in (ways if number % 2 else reversed(ways)))
            ratio = seconds["one"][0] / seconds["two"][0]
            print(
                f"| {number + 1} | {seconds['one'][0]:.0f} | {seconds['two'][0]:.0f} | {seconds['two'][1]:.0f} |"
                f" {ratio:.2f} |",
                flush=True,
            )


def address(path: Path, number: int) -> str:
    return f"customer-{path.stem}-{number}@example.com"


def write_orders(path: Path, users: int, orders: int) -> None:
    """Write orders in the order of time, one of each user at least, as a shop exports them."""
    chance = random.Random(path.stem)
    buyers = [*range(users), *(chance.randrange(users) for _ in range(orders - users))]
    chance.shuffle(buyers)
    with path.open("w") as file:
        file.write('"email";"orderId";"date";"items";"total";"discountCodes"\n')
        for number, buyer in enumerate(buyers):
            date, total = FIRST_ORDER + number * FIVE_YEARS // orders, f"{chance.randrange(500, 20_000) / 100:.2f}"
            items = "|".join(f"SKU-{chance.randrange(1_000)}:{chance.randint(1, 3)}" for _ in range(3))
            file.write(f'"{address(path, buyer)}";"{path.stem}-{number}";"{date}";"{items}";"{total}";"SUMMER"\n')


Times = tuple[str, tuple[float, float]]


def one_pass(it: stack.Stack, key: str, path: Path) -> Times:
    return "one", (timed(partial(run_import, it, key, path, "--upsert")), 0.0)


def two_passes(it: stack.Stack, key: str, path: Path, users: int) -> Times:
    creating = timed(partial(create_users, it, key, path, users))
    return "two", (creating + timed(partial(run_import, it, key, path)), creating)


def create_users(it: stack.Stack, key: str, path: Path, users: int) -> None:
    with (
        httpx.Client(headers={"Authorization": key}, timeout=60) as client,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):

        def create(number: int) -> None:
            client.put(f"{it.api_url}/user/{address(path, number)}?upsert=true", json={}).raise_for_status()

        list(pool.map(create, range(users)))


def run_import(it: stack.Stack, key: str, path: Path, *options: str) -> None:
    env = os.environ | {"API_URL": it.api_url, "API_KEY": key, "PYTHONPATH": str(stack.ROOT / "clients/python/src")}
    command = [sys.executable, "-m", "event_api_client", "import", str(path), "--from", "vibetrace", "--json", *options]
    done = subprocess.run(
        [*command, "--connections", str(CONNECTIONS)], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["created"] + counts["duplicate"] == counts["read"], counts  # a batch may be sent again


def timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
