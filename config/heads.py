"""What the heads of the lane's calls say, remembered from when the parser last read the very same bytes.

A client repeats its head to the byte, call after call, but for the length of the body; parsing it again into the same
headers costs more than the call itself is worth. Nothing is guessed: a head is only taken from memory where it is equal
in every byte to one that the parser found sound, in a call that came whole, with nothing before or after it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from charging import lane
from charging.requests import Request
from merchants.errors import ServiceError

HEAD_BYTES_MAX = 2048
HEADS_MAX = 4096  # then all are forgotten, and learnt again

# Headers that are the same in every call of a client. With any other (a key, a trace) a head never comes twice.
STEADY = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"host",
        b"user-agent",
        b"x-paygentic-edge",
        b"x-paygentic-region",
    }
)
END = b"\r\n\r\n"


class Head(NamedTuple):
    """The head of a call whose body has passed for its type and length."""

    path: str
    headers: Mapping[bytes, bytes]
    body_length: int


class Heads:
    """The heads that one process knows."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def request(self, data: bytes) -> Request | None:
        """Return the call that this is, whole and alone, if its head is known."""
        at = data.find(END, 0, HEAD_BYTES_MAX) + len(END)
        head = self._known.get(data[:at])
        if head is None or len(data) != at + head.body_length:
            return None
        return Request(head.path, head.headers, whole=data[at:], is_checked=True)

    def learn(self, data: bytes, request: Request) -> None:
        """Remember the head of a call that the parser has read from ``data``, and nothing else from it."""
        at = data.find(END, 0, HEAD_BYTES_MAX) + len(END)
        headers = request.headers
        if at < len(END) or not headers.keys() <= STEADY or data.count(b"\r\n", 0, at) != len(headers) + 2:
            return  # the last: a header came twice, or in several lines
        try:
            route = lane.ROUTES[request.path]
            request.check_body(route.bytes_max, route.media_types)
        except ServiceError:
            return
        length = int(headers[b"content-length"])
        if len(data) == at + length:
            if len(self._known) >= HEADS_MAX:
                self._known.clear()
            self._known[data[:at]] = Head(request.path, headers, length)
