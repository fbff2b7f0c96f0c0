"""`make run PORT=…` uses its port, and notices another stack that is starting."""

import os
import socket
from pathlib import Path

import pytest

from local import aws, stack
from local.__main__ import alone, ports
from local.stack import StackError, check_free, free_port


def test_the_pages_are_on_the_next_port() -> None:
    port = free_port()
    assert ports(str(port)) == (port, port + 1)


@pytest.mark.parametrize("wanted", ["abc", "", "-1", "80.5", "65536", "100000000000", "٣"])
def test_what_is_no_port_is_said_in_one_line(wanted: str) -> None:
    with pytest.raises(
        StackError, match=f"^PORT={wanted} is no port: it is a number from 1 to 65535, or 0 for"
    ) as said:
        ports(wanted)
    assert "\n" not in str(said.value)


def test_port_0_takes_a_free_one_and_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    port, pages = ports("0")
    check_free(port)
    assert pages == 0
    assert capsys.readouterr().out == f"PORT=0: taking the free port {port}\n"


def test_two_callers_of_a_process_and_two_processes_get_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = os.getpid()
    ports = {free_port() for _ in range(5)}
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    ports |= {free_port() for _ in range(5)}
    assert len(ports) == 10
    assert max(ports) < 32_768, "Linux gives the others to connections"


def test_a_taken_port_is_said_before_anything_is_started() -> None:
    with socket.create_server((aws.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} cannot be used, choose another one with PORT=number"):
            ports(str(port))


def test_while_a_stack_starts_runs_or_saves_its_data_no_other_command_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stack"
    with alone(folder), pytest.raises(StackError, match="just being started or stopped"), alone(folder):
        pass
    with alone(folder):
        pass
    (folder / "endpoint").write_text("http://here")
    monkeypatch.setattr(stack, "is_up", "http://here".__eq__)
    with pytest.raises(StackError, match="The stack is running at http:"), alone(folder):
        pass
