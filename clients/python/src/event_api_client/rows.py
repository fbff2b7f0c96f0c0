"""Rows of a file: CSV with a header, or one JSON value in each line. Files of any size take the same memory."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from event_api_client.entries import from_json, to_json

MAX_LINE = 4 * 1024 * 1024
DELIMITERS = ";,\t|"


class UnreadableFileError(Exception):
    """The file cannot be read as the format says. Nothing was sent."""


@dataclass(frozen=True)
class Row:
    """A row with the number of its first line. `problem` says why it cannot be read; then `value` is what was read."""

    line: int
    value: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    has_end: bool = True
    """False if the file ends in the middle of the line, or its last line has no line end."""


@dataclass
class Position:
    """How far a file was read, in bytes."""

    size: int
    file: BinaryIO

    @property
    def bytes(self) -> int:
        return self.file.tell()


@contextmanager
def opened(path: Path) -> Iterator[tuple[TextIO, Position]]:
    """Open a text file: UTF-8 or UTF-16 with or without a byte order mark, compressed with gzip or not."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from error
    with raw:
        position = Position(path.stat().st_size, raw)
        is_compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        content = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_compressed else raw
        try:
            start = content.read(2)
            content.seek(0)
            encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
            # Bytes that are not UTF-8 become surrogates, so that only their rows are refused.
            yield io.TextIOWrapper(content, encoding, errors="surrogateescape", newline=""), position
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFileError(f"{path} is not complete: {error}") from error


# --- JSON -----------------------------------------------------------------------------------------


def json_rows(file: TextIO) -> Iterator[Row]:
    """Yield the objects of a file with one JSON value in each line: an object, or a list of objects."""
    return chain.from_iterable(json_lines(file))


def json_lines(file: TextIO) -> Iterator[list[Row]]:
    """Yield the objects of each line."""
    for number, line in _lines(file):
        if rows := list(_json_line(number, line)):
            yield rows


def _json_line(number: int, line: str) -> Iterator[Row]:
    if not line.strip():
        return
    has_end = line.endswith(("\n", "\r"))
    if problem := _problem_of_text(line):
        yield Row(number, {"text": _shown(line)}, problem, has_end)
        return
    try:
        value = from_json(line)
    except (ValueError, RecursionError):
        yield Row(number, {"text": _shown(line)}, "The line is not JSON. Write each object in one line", has_end)
        return
    for each in value if isinstance(value, list) else [value]:
        problem = _problem_of_escapes(line, each) if isinstance(each, dict) else "The line is not a JSON object"
        yield Row(number, {"text": _shown(line)} if problem else each, problem, has_end)


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            while not line.endswith("\n") and (line := file.readline(MAX_LINE)):
                pass  # no event is so long; `line` is its end
            yield number, "\udc80" + line[-1:]
        else:
            yield number, line


# --- CSV ------------------------------------------------------------------------------------------


def csv_rows(file: TextIO, required: frozenset[str]) -> Iterator[Row]:
    """Yield the rows of a CSV file, each cell under the name of its column. Raises UnreadableFileError."""
    csv.field_size_limit(MAX_LINE)
    lines = iter(partial(file.readline, MAX_LINE), "")
    before, first = next(((number, line) for number, line in enumerate(lines) if line.strip()), (0, ""))
    delimiter = max(DELIMITERS, key=first.count)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    missing = sorted(required - set(columns))
    if missing:
        found = ", ".join(columns)[:500] or "none"
        raise UnreadableFileError(f"The file has no column {', '.join(missing)}. Its columns are: {found}")
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        line = before + reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(line, {}, f"The row is not CSV: {error}. Is a quote not closed?")
            continue
        if cells is None:
            return
        if any(cells):
            yield _csv_row(line, before + reader.line_num + 1, columns, cells)


def _csv_row(line: int, last: int, columns: list[str], cells: list[str]) -> Row:
    value = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    shown = {name: _shown(cell) for name, cell in value.items()}
    if len(cells) != len(columns):
        several = f". It takes the lines {line} to {last}: is a quote not closed?" if last > line else ""
        return Row(line, shown, f"The row has {len(cells)} cells, and the header {len(columns)}{several}")
    problem = next(filter(None, map(_problem_of_text, cells)), "")
    return Row(line, shown if problem else value, problem)


def _problem_of_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "The row is not UTF-8, or longer than 4 MiB. Save the file as UTF-8"
    return ""


def _problem_of_escapes(line: str, value: object) -> str:
    r"""Return what is wrong with a value of a line with escapes such as \ud83d, of which two make one character."""
    if "\\ud" not in line.lower():
        return ""
    try:
        to_json(value)
    except ValueError as error:
        return str(error)
    return ""


def _shown(text: str) -> str:
    """Return text that can be written to a file of rejected rows."""
    return text[:2000].encode("utf-8", "replace").decode()
