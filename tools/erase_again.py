"""Carry erasures and API keys from the old table to a restored one: `make erasures`.

- Users who were erased after the backup are erased again. The old table has only hashes of their ids, so each user of
  the restored table is hashed and compared. ErasureFunction deletes their items after the functions use the restored
  table. The hashes are copied. So an erased _id is never used again, and receipts stay.
- API keys that were created, revoked or given another expiry after the backup are copied. If a key changed in both
  tables, the later change wins, and a revoked key stays revoked.

Both tables are read once, in parallel segments. A stopped run continues when it is started again. The command can be
run any number of times.
"""

import argparse
import contextlib
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.problems import NotFound, Unavailable
from domain.times import iso
from table import Account
from table import primary_keys as keys
from table.attribute_values import from_item, to_item
from table.calls import Table, new_client
from table.expressions import IS_NEW, Absent, Action, Compare, Condition, Delete, Item, Put
from use_cases import users

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SEGMENTS = 16
# A recovery waits for this: patience is worth more here than an answer within seconds.
CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 10},
    max_pool_connections=SEGMENTS,
)
CLOCKS_DIFFER = timedelta(minutes=10)
SAVE_SECONDS = 5
DONE = "done"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.erase_again", description=__doc__)
    parser.add_argument("old", help="the table that the functions used until now, or use")
    parser.add_argument("restored", help="the table that gets what may not be undone")
    arguments = parser.parse_args()
    run = Run.resumed(arguments.old, arguments.restored, Path(f".erasures-{arguments.restored}.json"))
    if run.began_before:
        print(f"Going on with the run of {run.began}", file=sys.stderr)
    try:
        erased, carried = erase_again(new_client(CONFIG), run, show_progress=True)
    except (BotoCoreError, ClientError, Unavailable) as error:
        print(f"DynamoDB did not answer as expected: {error}. Run this again: it goes on from here.", file=sys.stderr)
        return 1
    print(f"Erased again: {erased} users of {arguments.restored}; carried over: {carried} changes of API keys")
    if run.began_before:
        print(f"That was since {run.began}. Run this again for what happened after that.")
    return 0


@dataclass
class Run:
    """The progress of a run, in a file, so that another run can continue it.

    Only the file's owner can read it, because a position in a table can contain a user's email. It is deleted when the
    run is complete.
    """

    old: str
    restored: str
    file: Path | None = None
    began: str = field(default_factory=lambda: iso(datetime.now(UTC)))
    began_before: bool = False
    marks: set[str] = field(default_factory=set)
    """Partition keys of the marks of erased ids."""
    places: dict[str, Any] = field(default_factory=dict)
    """The last key that was read of each table and segment, or DONE."""
    counts: dict[str, int] = field(default_factory=lambda: {"read": 0, "erased": 0, "carried": 0})
    lock: threading.Lock = field(default_factory=threading.Lock)
    saved: float = 0

    @classmethod
    def resumed(cls, old: str, restored: str, file: Path) -> "Run":
        with contextlib.suppress(FileNotFoundError):
            state = json.loads(file.read_text())
            if (state["old"], state["restored"]) == (old, restored):
                return cls(file=file, began_before=True, **{**state, "marks": set(state["marks"])})
        return cls(old, restored, file)

    def add(self, place: str, key: Any, **counts: int) -> None:
        """Note that a page was dealt with."""
        with self.lock:
            self.places[place] = key
            for name, count in counts.items():
                self.counts[name] += count
            if time.monotonic() > self.saved + SAVE_SECONDS:
                self.save()

    def save(self) -> None:
        self.saved = time.monotonic()
        if self.file:
            state = {name: getattr(self, name) for name in ("old", "restored", "began", "places", "counts")}
            written = self.file.with_suffix(".new")
            written.touch(0o600)
            written.write_text(json.dumps({**state, "marks": sorted(self.marks)}))
            written.replace(self.file)


def last_erased(mark: Item, since: str) -> str:
    """Return when an erasure ended, `since` if it goes on. `erasedAt` is the first request, which may be older."""
    return str(mark.get("finishedOn") or (since if "eventsDeleted" in mark else mark.get("erasedAt", since)))


def erase_again(client: "DynamoDBClient", run: Run, *, show_progress: bool = False) -> tuple[int, int]:
    """Return how many users were erased, and how many changes of keys were carried over."""
    old, restored = (Table(client, name, math.inf) for name in (run.old, run.restored))
    since = restored_to(client, run.restored)

    def remember(items: list[Item]) -> dict[str, int]:
        """Deal with a page of the old table: copy marks, carry over keys."""
        marks = [item for item in items if item["sk"] == keys.ERASED and last_erased(item, since) >= since]
        for mark in marks:
            restored.write_one(Put(keys.key_of(mark), mark, IS_NEW))  # a mark there is the receipt of an erasure there
        with run.lock:
            run.marks.update(mark["pk"] for mark in marks)
        return {"carried": sum(carry(item, old, restored) for item in items if item["sk"] != keys.ERASED)}

    def erase(items: list[Item]) -> dict[str, int]:
        """Process a page of the restored table: erase the users that were erased in the old table."""
        found = [keys.account_and_user_of(item) for item in items]
        return {"erased": sum(erase_user(restored, *user) for user in found if keys.erased(*user).pk in run.marks)}

    try:
        with ThreadPoolExecutor(SEGMENTS) as threads, progress(client, run, shown=show_progress):
            read_all(threads, client, run, run.old, OLD, remember)
            read_all(threads, client, run, run.restored, RESTORED, erase)
    except BaseException:
        run.save()
        raise
    if run.file:
        run.file.unlink(missing_ok=True)
    return run.counts["erased"], run.counts["carried"]


# --- Reading tables -------------------------------------------------------------------------------

OLD = {
    "FilterExpression": "sk = :erased OR begins_with(pk, :account)",
    "ExpressionAttributeValues": to_item({":erased": keys.ERASED, ":account": keys.keys_of_account("")}),
}
RESTORED = {  # users who are being erased have no createdOn
    "FilterExpression": "sk = :profile AND attribute_exists(createdOn)",
    "ExpressionAttributeValues": to_item({":profile": keys.PROFILE}),
    "ProjectionExpression": "pk",
}


def read_all(
    threads: ThreadPoolExecutor,
    client: "DynamoDBClient",
    run: Run,
    table: str,
    wanted: dict[str, Any],
    deal_with: Callable[[list[Item]], dict[str, int]],
) -> None:
    """Hand each page of a table's items to `deal_with`. Raises what a segment raised, after the others have stopped."""
    failed = threading.Event()

    def read(segment: int) -> None:
        place = f"{table}/{segment}"
        key = run.places.get(place)
        while key != DONE and not failed.is_set():
            start = {"ExclusiveStartKey": key} if key else {}
            try:
                page: Any = client.scan(
                    TableName=table, Segment=segment, TotalSegments=SEGMENTS, ConsistentRead=True, **wanted, **start
                )
                counts = deal_with([from_item(item) for item in page["Items"]])
            except BaseException:
                failed.set()
                raise
            key = page.get("LastEvaluatedKey", DONE)
            run.add(place, key, read=page["ScannedCount"], **counts)

    for result in [threads.submit(read, segment) for segment in range(SEGMENTS)]:
        result.result()


def restored_to(client: "DynamoDBClient", table: str) -> str:
    """Return the moment to which a table was restored; "" if it was not, or if that is not known."""
    summary = client.describe_table(TableName=table)["Table"].get("RestoreSummary", {})
    moment = summary.get("RestoreDateTime")
    return iso(moment.astimezone(UTC) - CLOCKS_DIFFER) if moment else ""


@contextlib.contextmanager
def progress(client: "DynamoDBClient", run: Run, *, shown: bool) -> Iterator[None]:
    """Print every few seconds how far the run is. DynamoDB counts the items of a table every six hours."""
    ended = threading.Event()
    total = sum(client.describe_table(TableName=name)["Table"].get("ItemCount", 0) for name in (run.old, run.restored))

    def show() -> None:
        while not ended.wait(SAVE_SECONDS):
            print(f"{run.counts['read']:,} of about {total:,} items read", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    if shown:
        thread.start()
    try:
        yield
    finally:
        ended.set()


# --- Users and keys -------------------------------------------------------------------------------


def erase_user(table: Table, account: str, user_id: str) -> bool:
    """Erase a user as DELETE /v1/user/... does. Return False if that was just done."""
    with contextlib.suppress(NotFound):
        users.erase(user_id, Account(table, account), datetime.now(UTC))
        return True
    return False


def carry(key: Item, old: Table, restored: Table) -> bool:
    """Copy the state of an API key to the restored table, if it is newer. Return whether it was."""
    by_hash = keys.api_key(key["keyHash"])
    there = restored.get(keys.key_of(key))
    while _is_newer(key, there):
        same: Condition = IS_NEW
        if there:
            same = Compare("expiresOn", "=", there["expiresOn"]) & Absent("revokedOn")
        opens = None if "revokedOn" in key else old.get(by_hash)
        actions: list[Action] = [Put(keys.key_of(key), key, same), Put(by_hash, opens) if opens else Delete(by_hash)]
        failed = restored.write(actions)
        if failed is None:
            return True
        there = failed.get(0) or None
    return False


def _is_newer(key: Item, there: Item | None) -> bool:
    """Return whether the old table has the newer state of a key.

    1.1 did not store when a key changed: then the old table's state is newer.
    """
    if there is None or "revokedOn" in there:
        return there is None
    if "revokedOn" in key:
        return True
    changed, changed_there = (str(item.get("changedOn", "")) for item in (key, there))
    return bool(key["expiresOn"] != there["expiresOn"] and changed >= changed_there)


if __name__ == "__main__":
    sys.exit(main())
