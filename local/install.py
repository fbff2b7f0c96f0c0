"""Makes the virtual environment for `make`: python local/install.py FOLDER. Needs only the standard library."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path("requirements-dev.txt")


def main() -> int:
    folder = Path(sys.argv[1])
    print(f"Installing {REQUIREMENTS} into {folder}; the first time this takes a minute or two", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], capture_output=True, check=False)
    if made.returncode != 0:
        print(f"{sys.executable} makes no virtual environment. On Debian: apt install python3-venv", file=sys.stderr)
        return 1
    problem = install(folder)
    if problem is not None:
        print(f"Could not install from the package index, is there a network? {problem}", file=sys.stderr)
        return 1
    return 0


def install(folder: Path) -> str | None:
    """Installs the requirements; what went wrong, or None."""
    # --no-deps: the file lists every package, and pip before 24 stumbles over extras in hashed files.
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    command = [*pip, "--no-deps", "--require-hashes", f"--requirement={REQUIREMENTS}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    problem = "pip was interrupted"
    for line in process.stdout or ():
        if line.startswith("Collecting "):
            show(line.split()[1])
        elif line.startswith("Installing "):
            show("unpacking ...")
        elif line.startswith("ERROR: "):
            problem = line.strip()
    show("")
    return problem if process.wait() != 0 else None


def show(progress: str) -> None:
    """Writes over the line before, on a terminal."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{progress}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
