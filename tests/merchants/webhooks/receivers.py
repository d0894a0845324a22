"""Receivers on loopback that behave, and some that do not."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket, "Receiver"], None]


@dataclass
class Post:
    """One request that arrived."""

    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Receiver:
    """A server on a port of its own, in threads of its own."""

    behaviour: Behaviour
    posts: list[Post] = field(default_factory=list)
    connections: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def read(self, connection: socket.socket) -> Post:
        """Read one request whole."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65_536)
        post = Post(headers, body, time.monotonic())
        self.posts.append(post)
        return post


@contextmanager
def receiver(behaviour: Behaviour) -> Iterator[Receiver]:
    """Serve until the block ends."""
    made = Receiver(behaviour)
    with socket.create_server(("127.0.0.1", 0)) as server:
        made.port = server.getsockname()[1]
        thread = threading.Thread(target=_serve, args=(server, made), daemon=True)
        thread.start()
        yield made
        made.stop.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _serve(server: socket.socket, made: Receiver) -> None:
    while not made.stop.is_set():
        try:
            connection, _ = server.accept()
        except OSError:
            return
        made.connections += 1
        threading.Thread(target=_handle, args=(connection, made), daemon=True).start()


def _handle(connection: socket.socket, made: Receiver) -> None:
    with connection, suppress(OSError, KeyError):
        made.behaviour(connection, made)


def answering(status: int, body: bytes = b"ok", **headers: str) -> Behaviour:
    """One that takes each post and answers this."""
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    said = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{named}\r\n".encode() + body

    def answer(connection: socket.socket, made: Receiver) -> None:
        made.read(connection)
        connection.sendall(said)

    return answer


def hanging(connection: socket.socket, made: Receiver) -> None:
    """One that takes the post and never answers."""
    made.read(connection)
    made.stop.wait(60)


def dripping(connection: socket.socket, made: Receiver) -> None:
    """One that answers a byte at a time, each well in time."""
    made.read(connection)
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000:
        connection.sendall(bytes([byte]))
        if made.stop.wait(0.02):
            return


def flooding(connection: socket.socket, made: Receiver) -> None:
    """One whose answer has a hundred megabytes."""
    made.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x" * 1_000_000)


def hanging_up(connection: socket.socket, made: Receiver) -> None:
    """One that takes the post and closes."""
    made.read(connection)
