"""`sam` and `aws` as forks of a process that has imported them: the imports are most of what each run would do.

python tests/programs.py SOCKET serves run_program.py, until its standard input ends.
"""

import atexit
import importlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import run_program

COMMANDS = "deploy.command deploy.deploy_context package.package_context remote.invoke.cli remote.remote_invoke_context"
MODULES = ["aws_cli", "samcli.cli.main", *(f"samcli.commands.{name}" for name in COMMANDS.split())]


@cache
def folder() -> Path:
    """Return a folder for the PATH, with `sam` and `aws`."""
    made = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, made)
    client = f"exec {sys.executable} -IS {run_program.__file__} {made}/socket"
    write(made / "bin", {name: f'{client} {name} "$@"' for name in ("sam", "aws")})
    serving, pipe = [sys.executable, __file__, f"{made}/socket"], subprocess.PIPE
    process = subprocess.Popen(serving, stdin=pipe, stdout=pipe, start_new_session=True)
    atexit.register(process.communicate)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return made / "bin"


def write(folder: Path, commands: Mapping[str, str]) -> None:
    """Write a program for each name and its command of the shell."""
    folder.mkdir()
    for name, command in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{command}\n")
        (folder / name).chmod(0o755)


def serve(address: str) -> None:
    for name in MODULES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # this process does not wait for its forks
    with socket.create_server(address, family=socket.AF_UNIX) as listening:
        print("ready", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run the program of a request, and end this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(connection, run_program.NUMBER, 3)
    with connection.makefile("rb") as reader:
        number, *told = reader.read(int.from_bytes(size)).decode().split("\0")
    (program, *arguments), working_folder, *variables = told[: int(number)], *told[int(number) :]
    for stream, opened in enumerate(streams):
        os.dup2(opened, stream)
    # The old objects belong to other streams, and remember whether those could seek.
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", 1)
    os.chdir(working_folder)
    os.environ.clear()
    os.environ.update({name: value for name, _, value in (variable.partition("=") for variable in variables)})
    status = 1
    try:
        status = run(program, arguments)
    except Exception:  # noqa: BLE001 as Python ends a program
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(status.to_bytes(run_program.NUMBER))
    os._exit(0)


def run(program: str, arguments: list[str]) -> int:
    """Return the exit status."""
    if program == "aws":
        import aws_cli

        logging.disable()  # sam logs what botocore does
        return aws_cli.main(*arguments)
    from samcli.cli.main import cli

    try:
        cli(arguments, prog_name=program)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
