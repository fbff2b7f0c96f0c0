"""The installation of the first `make run`. Wheels that the tests make replace the package index."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local.stack import ROOT

INSTALL = [sys.executable, str(ROOT / "local" / "install.py")]
SECONDS = 120
UV_THAT_NOTES = (
    "import os, sys; open('noted', 'a').write(' '.join(sys.argv[1:]) + os.environ['UV_DEFAULT_INDEX']); print('uv 1')"
)
UV_THAT_FAILS = "import sys; sys.exit('error: this machine is too old')"


def wheel(folder: Path, name: str, program: str) -> str:
    """Put a package with one command into the folder. Return its line of the requirements."""
    path = folder / f"{name}-1-py3-none-any.whl"
    about = f"{name}-1.dist-info"
    files = {
        f"{name}.py": f"def main():\n    {program}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        hashes = (base64.urlsafe_b64encode(hashlib.sha256(each.encode()).digest()) for each in files.values())
        record = [f"{file},sha256={digest.decode().rstrip('=')}," for file, digest in zip(files, hashes, strict=True)]
        archive.writestr(f"{about}/RECORD", "\n".join([*record, f"{about}/RECORD,,\n"]))
    return f"{name}==1 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def settings(folder: Path) -> dict[str, str]:
    """An environment whose package index is the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    of_pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_INDEX_URL": "https://packages.example.com"}
    return kept | of_pip


@pytest.mark.long
@pytest.mark.parametrize("uv", [UV_THAT_NOTES, UV_THAT_FAILS], ids=["uv", "without uv"])
def test_uv_installs_or_pip_if_uv_cannot_and_each_step_is_one_line_with_its_time(tmp_path: Path, uv: str) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(wheel(tmp_path, "thing", "print('installed')") + wheel(tmp_path, "uv", uv))
    command = [*INSTALL, ".venv", requirements.name]
    done = subprocess.run(command, cwd=tmp_path, env=settings(tmp_path), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    by_pip = uv == UV_THAT_FAILS
    assert [line.split(" ...")[0].rsplit(" ", 1)[0] for line in lines[:2]] == [
        "Making .venv with Python",
        "Installing uv",
    ]
    assert [line for line in lines[:2] + lines[-1:] if not line.endswith(" s")] == []
    assert lines[-1].startswith("Installing with pip instead" if by_pip else "Installing requirements.txt")
    assert (tmp_path / ".venv" / "bin" / "thing").exists() == by_pip
    if by_pip:
        assert "uv does not work here: error: this machine is too old" in lines
    else:
        noted = (tmp_path / "noted").read_text()
        assert "--require-hashes -r requirements.txt" in noted
        assert noted.endswith("https://packages.example.com")


@pytest.mark.long
def test_ctrl_c_is_one_line_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    command = [*INSTALL, ".venv", "requirements.txt"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.read(6) == "Making"
        os.killpg(process.pid, signal.SIGINT)
        _, complained = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGINT
    assert complained == "\nStopped. The next `make` continues the installation.\n"
    assert not (tmp_path / ".venv").exists()
