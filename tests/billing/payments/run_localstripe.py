"""Run localstripe as a program of its own, on the loopback interface alone and without a file of its own.

It is not part of Farthing: nothing of ours imports it, and it is talked to over HTTP only.
"""

import builtins
import os
import runpy
import socket
import sys
from typing import Any

EVERYWHERE, LOOPBACK = "::", "::1"
STATE_FILE = "/tmp/localstripe.pickle"

_bind = socket.socket.bind
_open = builtins.open


def _bind_to_loopback(self: socket.socket, address: Any) -> None:
    _bind(self, (LOOPBACK, *address[1:]) if address[0] == EVERYWHERE else address)


def _open_but_state(file: Any, *args: Any, **options: Any) -> Any:
    return _open(os.devnull if file == STATE_FILE else file, *args, **options)


if __name__ == "__main__":
    socket.socket.bind = _bind_to_loopback  # type: ignore[method-assign, assignment]
    builtins.open = _open_but_state
    sys.argv = ["localstripe", "--port", sys.argv[1], "--from-scratch"]
    runpy.run_module("localstripe", run_name="__main__")
