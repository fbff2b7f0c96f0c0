"""Installs requirements into the virtual environment of `make`: python local/install.py FOLDER REQUIREMENTS.

pip installs uv, whose hash is in the requirements, and uv installs the rest in seconds. If uv cannot run, pip installs
everything. It never removes a package. Needs only the standard library.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

OPTIONS = ("--no-deps", "--require-hashes")
"""--no-deps: the files list every package, and pip before 24 fails on extras in hashed files."""
BYTECODE = ["--compile-bytecode"] if sys.dont_write_bytecode else []
"""Python compiles a module at its first import. If it may not keep the result, each start would compile all again."""
OF_PIP = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
"""Settings of pip that a company needs, and uv's names for them. uv does not read pip's."""


class CannotInstallError(Exception):
    """Why nothing was installed, in one line."""


def main() -> int:
    folder, requirements = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        make_environment(folder)
        install(folder / "bin", requirements)
    except CannotInstallError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next `make` continues the installation.", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)  # so that make and the shell see an interrupt, and not a failure
    return 0


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Print one line: the text now, and the seconds of the block at its end."""
    print(f"{text} ...", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - started:.1f} s", flush=True)


def make_environment(folder: Path) -> None:
    if works(folder / "bin" / "python", "-m", "pip", "--version"):
        return
    with step(f"Making {folder} with Python {sys.version.split()[0]}"), removed_on_failure(folder):
        if not works(sys.executable, "-m", "venv", "--clear", folder):
            raise CannotInstallError(f"{sys.executable} cannot make {folder}. On Debian: apt install python3-venv")


@contextlib.contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove a folder that was only half made."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def install(programs: Path, requirements: Path) -> None:
    pip = (programs / "python", "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off")
    uv: tuple[str | Path, ...] = (
        programs / "uv",
        "pip",
        "install",
        "--no-progress",
        *BYTECODE,
        "--python",
        programs / "python",
    )
    try:
        install_uv(pip, programs / "uv", requirements)
        with step(f"Installing {requirements}"):
            run(*uv, *OPTIONS, "-r", requirements, **settings_of_pip(programs / "python"))
    except CannotInstallError as problem:
        print(f"uv does not work here: {problem}")
        install_with_pip(pip, requirements)


def install_with_pip(pip: Iterable[str | Path], requirements: Path) -> None:
    try:
        with step("Installing with pip instead, which takes a minute or two"):
            run(*pip, *OPTIONS, "-r", requirements)
    except CannotInstallError as problem:
        raise CannotInstallError(f"Is there a network? {problem}") from problem


def install_uv(pip: Iterable[str | Path], uv: Path, requirements: Path) -> None:
    """Install the version of uv that the requirements name, with their hashes."""
    pinned = re.search(r"^uv==(\S+).*?(?=^\S|\Z)", requirements.read_text(), re.MULTILINE | re.DOTALL)
    assert pinned
    if works(uv, "--version") and pinned.group(1) in run(uv, "--version").split():
        return
    with step(f"Installing uv {pinned.group(1)}"), tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pinned.group())
        file.flush()
        run(*pip, *OPTIONS, "--only-binary=:all:", "-r", file.name)  # compiling uv would take many minutes


def settings_of_pip(python: Path) -> dict[str, str]:
    listed = run(python, "-m", "pip", "config", "list")
    found = re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    settings = {OF_PIP[name]: value for name, value in reversed(found) if name in OF_PIP}  # :env: is listed first
    return {"UV_SYSTEM_CERTS": "true", **settings}  # the certificates that pip trusts


def works(*command: str | Path) -> bool:
    try:
        run(*command)
    except CannotInstallError:
        return False
    return True


def run(*command: str | Path, **environment: str) -> str:
    """Return what a command prints. Raise CannotInstallError if it fails or cannot be run."""
    try:
        done = subprocess.run(
            command, env=environment | os.environ, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise CannotInstallError(str(error)) from error
    except subprocess.CalledProcessError as error:
        lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if re.match("error", line, re.IGNORECASE)), "".join(lines[-1:]))
        raise CannotInstallError(said) from error
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
