"""A `python` and a `dvc` for tests that start many processes, each at once."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.imports import ROOT

_CLIENT = Path(__file__).with_name("client.py")


@cache
def commands() -> Path:
    """Return a folder for PATH with `python` and `dvc`; their server lives as long as this process.

    `python -m MODULE` and `dvc` are what they are elsewhere, but for the libraries, which
    are imported already. A signal that cannot be caught ends what was started, too.
    """
    folder = Path(tempfile.mkdtemp(prefix="forking-"))
    path = folder / "socket"
    for name, arguments in (("python", ""), ("dvc", "-m dvc ")):
        script = folder / name
        script.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -I -S "{_CLIENT}" "{path}" {arguments}"$@"\n',
            encoding="utf-8",
        )
        script.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forking.server", str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    _servers.append(server)
    return folder


_servers: list["subprocess.Popen[str]"] = []
