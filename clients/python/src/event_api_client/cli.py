"""The command `event-api`. Exit codes: 0 all settled, 1 some rejected, 2 could not run."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from event_api_client import comparing, importing
from event_api_client.api import Settings
from event_api_client.formats import FORMATS
from event_api_client.importing import Counts, ImportStoppedError, Job
from event_api_client.outbox import SendingStopped
from event_api_client.rows import UnreadableFileError
from event_api_client.sending import Sending
from event_api_client.store import OutboxError

OK, REJECTED, NOT_RUN = 0, 1, 2
out, err = Console(highlight=False), Console(stderr=True, highlight=False)
file_argument = click.argument("file", type=click.Path(path_type=Path))
format_option = click.option(
    "--from", "name", required=True, type=click.Choice(list(FORMATS)), help="Format of the file."
)
upsert_option = click.option("--upsert", is_flag=True, help="Create users that do not exist.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON in the last line.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="event-api-client")
def commands() -> None:
    """Send events to the event API, import a file, or compare a file with what is stored.

    Set API_URL and API_KEY in the environment.
    """


@commands.command()
@file_argument
@upsert_option
@click.option("--outbox", type=click.Path(path_type=Path), help="File that keeps unsent events. Default: FILE.outbox")
@json_option
def send(file: Path, outbox: Path | None, *, upsert: bool, as_json: bool) -> int:
    """Send the events of FILE, or of standard input if FILE is "-".

    Each line is {"user": …, "event": …, "eventId"?: …, "eventTime"?: …}. Events without a time happen now. If it is
    interrupted, run it again: it continues after the last line that it read. So does a file to which lines were added.
    """
    sending = Sending(file, outbox)
    try:
        sending.run(Settings.read(), upsert=upsert)
    finally:
        code = _finish(sending.counts, sending.rejected_path, as_json=as_json)
    return code


@commands.command("import")
@file_argument
@format_option
@upsert_option
@click.option("--check", is_flag=True, help="Store nothing: report what each event would get.")
@click.option("--connections", type=click.IntRange(1, 32), default=4, show_default=True, help="Connections to the API.")
@json_option
def import_file(file: Path, name: str, connections: int, *, upsert: bool, check: bool, as_json: bool) -> int:
    """Import the events of FILE. Running it again stores nothing twice.

    Rejected rows are written to FILE.rejected.jsonl. An interrupted import continues where it stopped.
    """
    job = Job(file, FORMATS[name], Settings.read(), upsert=upsert, check=check, connections=connections)
    counts = Counts()
    try:
        with _progress() as show:
            importing.run(job, counts, lambda found, done, total: show(done, total, _so_far(found)))
    except ImportStoppedError as error:
        _finish(counts, job.rejected_path, as_json=as_json)
        raise click.ClickException(f"{error}. Run the same command again to continue") from error
    return _finish(counts, job.rejected_path, as_json=as_json, check=check)


@commands.command()
@file_argument
@format_option
@click.option("--csv", "report", type=click.Path(path_type=Path), help="Report. Default: FILE.compare.csv")
@json_option
def compare(file: Path, name: str, report: Path | None, *, as_json: bool) -> int:
    """Say of each order and refund of FILE whether it is stored. Nothing is stored."""
    report = report or file.with_name(file.name + ".compare.csv")
    with _progress() as show:
        counts = comparing.compare(
            file,
            FORMATS[name],
            Settings.read(),
            report,
            lambda read, done, total: show(done, total, f"{read:,} orders"),
        )
    table = Table("state", "orders and refunds")
    for state in comparing.STATES:
        table.add_row(state, f"{counts[state]:,}")
    console = err if as_json else out
    console.print(table)
    console.print(f"Each of them: {report}", soft_wrap=True)
    if as_json:
        click.echo(json.dumps({state: counts[state] for state in comparing.STATES}))
    return OK if counts.total() == counts[comparing.STORED] + counts[comparing.DIFFERENT] else REJECTED


# --- What is printed ------------------------------------------------------------------------------


def _finish(counts: Counts, rejected: Path, *, as_json: bool, check: bool = False) -> int:
    """Print the summary, and return the exit code."""
    console = err if as_json else out
    for line in _summary(counts, rejected, check=check):
        console.print(line, soft_wrap=True, markup=False)
    if as_json:
        click.echo(counts.as_json())
    return OK if counts.settled else REJECTED


def _summary(counts: Counts, rejected: Path, *, check: bool) -> Iterator[str]:
    if check:
        yield "Checked, nothing was stored. An order that is in the file twice may count twice"
    yield f"{counts.read:,} rows read"
    for name in ("created", "duplicate", "discarded", "refused", "failed"):
        if number := getattr(counts, name):
            yield f"{number:,} {name}"
    if counts.usersCreated:
        yield f"{counts.usersCreated:,} users created"
    for reason, number in counts.skipped.most_common():
        yield f"Skipped {number:,}: {reason}"
    for note, number in counts.notes.most_common():
        yield f"Note {number:,}: {note}"
    if not counts.settled:
        yield f"Rejected rows with their errors: {rejected}"


def _so_far(counts: Counts) -> str:
    return f"{counts.read:,} rows, {counts.refused + counts.failed:,} rejected"


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar on a terminal. Yield its update function (read bytes, all bytes, text)."""
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[text]}"))
    with Progress(
        *columns, TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=err, transient=True
    ) as bar:
        task = bar.add_task("", total=None, text="", rate="")

        def show(done: int, total: int, text: str) -> None:
            rows = int(text.split(" ", 1)[0].replace(",", ""))
            elapsed = bar.tasks[0].elapsed or 0
            rate = f"{rows / elapsed:,.0f} a second" if elapsed > 1 else ""
            bar.update(task, completed=done, total=total, text=text, rate=rate)

        yield show


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit."""
    try:
        code: Any = commands.main(arguments, "event-api", standalone_mode=False)
    except click.exceptions.Abort:
        err.print("Interrupted. Run the same command again to continue")
        code = NOT_RUN
    except click.ClickException as error:
        error.show()
        code = NOT_RUN
    except (UnreadableFileError, ImportStoppedError, SendingStopped, OutboxError, ValueError, OSError) as error:
        err.print(f"Error: {error}", markup=False, soft_wrap=True)
        code = NOT_RUN
    sys.exit(code if isinstance(code, int) else OK)
