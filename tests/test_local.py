"""The commands on this machine: the installation of the first `make run`, its port, and Ctrl-C."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local import aws, stack
from local.__main__ import alone, ports
from local.stack import ROOT, StackError, check_free, free_port

INSTALL = [sys.executable, str(ROOT / "local" / "install.py"), ".venv", "requirements.txt"]
NOTES = "print(*sys.argv[1:], os.environ['UV_DEFAULT_INDEX'], file=open('noted', 'a'))"
UV_THAT_NOTES = f"import os, sys; {NOTES}; print('uv 1')"
UV_THAT_FAILS = "import sys; sys.exit('error: this machine is too old')"


def wheel(folder: Path, name: str, version: int, program: str) -> str:
    """Put a package with one command into the folder. Return its line of the requirements."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"def main():\n    {program}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def install(folder: Path, *requirements: str) -> list[str]:
    """Install with the folder as the package index. Return the printed lines, with T for a time."""
    (folder / "requirements.txt").write_text("".join(requirements))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    of_pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_INDEX_URL": "https://packages.example.com"}
    done = subprocess.run(INSTALL, cwd=folder, env=kept | of_pip, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [re.sub(r" [\d.]+ s$", " T", line) for line in done.stdout.splitlines()]


@pytest.mark.long
def test_uv_installs_or_pip_if_uv_cannot_and_each_step_is_one_line_with_its_time(tmp_path: Path) -> None:
    thing = wheel(tmp_path, "thing", 1, "print('installed')")
    assert install(tmp_path, thing, wheel(tmp_path, "uv", 1, UV_THAT_NOTES)) == [
        f"Making .venv with Python {sys.version.split()[0]} ... T",
        "Installing uv 1 ... T",
        "Installing requirements.txt ... T",
    ]
    noted = (tmp_path / "noted").read_text()
    assert "--require-hashes -r requirements.txt" in noted
    assert noted.endswith("https://packages.example.com\n")
    assert not (tmp_path / ".venv" / "bin" / "thing").exists()
    assert install(tmp_path, thing, wheel(tmp_path, "uv", 2, UV_THAT_FAILS)) == [
        "Installing uv 2 ... T",
        "Installing requirements.txt ...",
        "uv does not work here: error: this machine is too old",
        "Installing with pip instead, which takes a minute or two ... T",
    ]
    assert (tmp_path / ".venv" / "bin" / "thing").exists()


@pytest.mark.long
def test_ctrl_c_is_one_line_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(INSTALL, cwd=tmp_path, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.read(6) == b"Making"
        os.killpg(process.pid, signal.SIGINT)
        _, complained = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    assert complained == b"\nStopped. The next `make` continues the installation.\n"
    assert not (tmp_path / ".venv").exists()


def test_the_pages_are_on_the_next_port_and_port_0_takes_a_free_one(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert ports(str(port)) == (port, port + 1)
    port, pages = ports("0")
    check_free(port)
    assert pages == 0
    assert capsys.readouterr().out == f"PORT=0: taking the free port {port}\n"


def test_what_is_not_a_port_or_taken_is_reported_in_one_line_before_anything_is_started() -> None:
    for wanted in ("abc", "", "-1", "80.5", "65536", "100000000000", "٣"):
        said = rf"^PORT={wanted} is no port: it is a number from 1 to 65535, or 0 for.*\Z"
        with pytest.raises(StackError, match=said):
            ports(wanted)
    with socket.create_server((aws.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} cannot be used, choose another one with PORT=number"):
            ports(str(port))


def test_no_other_command_uses_the_data_of_a_stack_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stack"
    with alone(folder), pytest.raises(StackError, match="just being started or stopped"), alone(folder):
        pass
    with alone(folder):
        (folder / "endpoint").write_text("http://here")
    monkeypatch.setattr(stack, "is_up", "http://here".__eq__)
    with pytest.raises(StackError, match="The stack is running at http:"), alone(folder):
        pass


PROGRAM = """
import os, signal, time
from local import stopping

class Library:
    def __del__(self):  # as in a callback of C: what is raised here is dropped
        os.kill(os.getpid(), signal.{signal})

stopping.by_signals()
try:
    {raised}
    print("goes on", flush=True)
    stopping.pause()
except KeyboardInterrupt:
    stopping.ignore_signals()
    os.kill(os.getpid(), signal.{signal})
    print("cleans up")
"""
DROPPED, RAISED = "Library()", "os.kill(os.getpid(), signal.{signal}); time.sleep(10)"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_stops_a_command_and_a_second_one_does_not_disturb_what_cleans_up(name: str) -> None:
    for raised, printed in ((DROPPED, "goes on\ncleans up\n"), (RAISED.format(signal=name), "cleans up\n")):
        command = [sys.executable, "-c", PROGRAM.format(signal=name, raised=raised)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout + done.stderr == printed


def test_two_callers_of_a_process_and_two_processes_get_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = os.getpid()
    ports = {free_port() for _ in range(5)}
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    ports |= {free_port() for _ in range(5)}
    assert len(ports) == 10
    assert max(ports) < 32_768, "Linux gives the others to connections"
