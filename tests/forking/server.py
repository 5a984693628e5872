"""Python processes that start at once: a server that has imported the libraries forks them.

Every stage under DVC is a process of its own, most of whose seconds go into the import of
torch and Transformers. Run as `python -m tests.forking.server SOCKET`; `client.py` sends what
would have been a command line of Python. The modules of this project are imported by each
process anew, from where its PYTHONPATH and working folder say.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "accelerate",
    "datasets",
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.repo",
    "pandas",
    "pyarrow.compute",
    "ruamel.yaml",
    "sklearn.metrics",
    "torch",
    "transformers.conversion_mapping",
    "transformers.integrations.sdpa_attention",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "transformers.trainer",
    "zarr",
)
MOST_BYTES = 1 << 20


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a command and the three files that are its standard ones."""
    message, files, _, _ = socket.recv_fds(connection, MOST_BYTES, 3)
    return json.loads(message), files


def become(command: dict[str, Any], files: list[int]) -> None:
    """Turn this process into the one that was asked for, and run it to its end."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    option, module, *arguments = [each for each in command["arguments"] if each != "-u"]
    assert option == "-m", f"only modules are run, not {option}"
    sys.orig_argv = [sys.executable, option, module, *arguments]
    sys.argv = [module, *arguments]
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [command["folder"], *filter(None, added), *sys.path]
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ImportError):
        import_module("sitecustomize")
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the usual way would take seconds to clear all that was imported


def main(path: str) -> None:
    """Fork a process for each connection, and answer with its exit status."""
    start = list(sys.path)
    for name in LIBRARIES:
        import_module(name)
    sys.path[:] = [place for place in start if place not in ("", str(Path.cwd()))]
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    gc.freeze()  # else a collection would copy every page of the libraries
    assert threading.active_count() == 1, "a fork would leave the other threads behind"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in ready:  # closed: who started the server has ended
                return
            connection, _ = server.accept()
            if os.fork() == 0:  # this one waits, so that others can be served meanwhile
                break
            connection.close()
    answer(connection)


def answer(connection: socket.socket) -> None:
    """Run one command in a process of its own, and send how it ended.

    When the client is killed, so is the process that it stands for.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command, files = receive(connection)
    process = os.fork()
    if process == 0:
        connection.close()
        become(command, files)
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([ended, connection], [], [])
    if connection in ready:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
