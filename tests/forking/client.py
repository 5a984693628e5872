"""Stands in for `python`: has the server of `server.py` run a command, and ends as it ends.

Only the standard library is imported, as this runs with `python -I -S`.
"""

import json
import os
import socket
import sys
from pathlib import Path

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    command = {
        "arguments": sys.argv[2:],
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    socket.send_fds(connection, [json.dumps(command).encode()], [0, 1, 2])
    status = int(connection.recv(16) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
