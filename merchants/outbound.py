"""The only way out to an address that a merchant gave: checked where it leads, every time a connection is made.

A name may lead elsewhere than when it was saved, or to this network from the start. So it is looked up once, every
address it has must be public, and the connection goes to one of those addresses while the Host header and TLS still
say the name. Redirects are not followed, no proxy and no cookie is used, and one deadline holds for everything from
the look-up to the last byte: a peer that answers a byte at a time runs out of time as well.
"""

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

import httpcore
from django.conf import settings

from merchants import fields
from merchants.errors import ValidationFailed

SECONDS_MAX = 15.0  # Standard Webhooks asks for 15 to 30
BYTES_MAX = 64 * 1024  # of an answer; what comes after is not read
URL_LENGTH_MAX = 2_000
ADDRESSES_TRIED_MAX = 2
PORTS_LIVE = (443, 8443)
PORTS_TEST = (80, 443, 8080, 8443)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Why = Literal["forbidden", "unresolved", "unreachable", "tls", "timeout", "protocol"]

_is_host = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]{2,45}\]").fullmatch
_is_visible = re.compile(r"[!-~]+").fullmatch
_LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home.arpa", "localdomain")

# What ipaddress takes for global and is not, or leads on to another address: multicast, NAT64, 6to4 and its relays,
# addresses with an IPv4 one inside, documentation.
_DENIED = [
    ipaddress.ip_network(text)
    for text in (
        "224.0.0.0/4",
        "192.88.99.0/24",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "3fff::/20",
    )
]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


class Failed(Exception):
    """There was no answer; ``why`` says in a word what stood in its way, the text says it to a person."""

    def __init__(self, why: Why, message: str) -> None:
        self.why = why
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered: its body up to BYTES_MAX."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


# --- where an address may lead ---------------------------------------------------------------------------


def check_url(value: object, field: str, *, is_live: bool) -> str:
    """Return a URL that may be posted to, as far as it shows without looking anything up.

    Raises:
        ValidationFailed: it is not https, not absolute, not public, or carries a password or a fragment.
    """
    url = fields.text(value, field, length_max=URL_LENGTH_MAX)
    try:
        _check(url, is_live=is_live)
    except Failed as refused:
        raise ValidationFailed(f"{field}: {refused}", field=field, code="INVALID_URL") from refused
    return url


def _check(url: str, *, is_live: bool) -> SplitResult:
    schemes = ("https",) if is_live else ("https", "http")
    parts = urlsplit(url)
    if not _is_visible(url) or "\\" in url or parts.scheme not in schemes:
        raise Failed("forbidden", f"It must be an absolute {' or '.join(schemes)} URL.")
    if parts.username is not None or parts.fragment or "#" in url:
        raise Failed("forbidden", "It may have neither a user nor a fragment.")
    host = parts.netloc.rpartition(":")[0] if re.search(r":[0-9]*$", parts.netloc) else parts.netloc
    if not _is_host(host):
        raise Failed("forbidden", "It names no host.")
    numeric = _numeric_address(parts.hostname or "")
    if numeric is None and not _may_be_local(is_live) and _is_local_name(parts.hostname or ""):
        raise _private(is_live)
    if numeric is not None:
        check_address(numeric, is_live=is_live)  # before the port, which may be any where a network is allowed
    _check_port(parts, is_live=is_live)
    return parts


def _check_port(parts: SplitResult, *, is_live: bool) -> None:
    ports = PORTS_LIVE if is_live else PORTS_TEST
    try:
        port = _port(parts)
    except ValueError:
        raise Failed("forbidden", "Its port is none.") from None
    if port not in ports and not _may_be_local(is_live):
        raise Failed("forbidden", f"Its port must be one of {', '.join(map(str, ports))}.")


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _is_local_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name.rpartition(".")[2] in _LOCAL_NAMES or name.endswith(".home.arpa")


def _numeric_address(host: str) -> str | None:
    """Return the address that a host is, in any notation the system knows (0x7f000001, 127.1, 2130706433)."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])


def check_address(text: str, *, is_live: bool) -> None:
    """Refuse an address that is not public, unless a setting allows it for test mode; raises Failed."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if not is_public(mapped or address) and not _is_allowed(mapped or address, is_live):
        raise _private(is_live)


def _private(is_live: bool) -> Failed:
    """Say what is refused and, where a setting could allow it, which."""
    hint = "" if is_live else " In test mode FARTHING_OUTBOUND_ALLOW, a setting of this installation, can allow it."
    return Failed("forbidden", f"It leads into a private network.{hint}")


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to one host of the internet."""
    if not address.is_global or address.is_multicast or any(address in network for network in _DENIED):
        return False
    return address.version == 4 or address in _GLOBAL_UNICAST


def _may_be_local(is_live: bool) -> bool:
    return not is_live and bool(settings.OUTBOUND_ALLOW)


def _is_allowed(address: Address, is_live: bool) -> bool:
    return _may_be_local(is_live) and any(address in network for network in settings.OUTBOUND_ALLOW)


# --- the connection --------------------------------------------------------------------------------------


def post(url: str, *, body: bytes, headers: Mapping[str, str], is_live: bool) -> Answer:
    """Post to an address that a merchant gave; hold no transaction open meanwhile.

    Args:
        is_live: of the merchant; live ones are served over https alone, and never on a private network.

    Raises:
        Failed: there was no answer in time, or the address leads where nothing is sent.
    """
    parts = _check(url, is_live=is_live)
    deadline = time.monotonic() + SECONDS_MAX
    addresses = _looked_up(parts.hostname or "", _port(parts), deadline)
    for address in addresses:
        check_address(address, is_live=is_live)
    backend = _Pinned(addresses[:ADDRESSES_TRIED_MAX], deadline)
    try:
        with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool:
            return _exchange(pool, url, body, headers, deadline)
    except httpcore.TimeoutException:
        raise Failed("timeout", f"It did not answer within {SECONDS_MAX:g} seconds.") from None
    except httpcore.ConnectError as error:
        raise _unreachable(error) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise Failed("protocol", "It closed the connection, or did not answer in HTTP.") from error


def _exchange(
    pool: httpcore.ConnectionPool, url: str, body: bytes, headers: Mapping[str, str], deadline: float
) -> Answer:
    said = list(headers.items())
    with pool.stream("POST", url, headers=said, content=body, extensions={"timeout": _timeouts(deadline)}) as response:
        kept = b""
        for part in response.iter_stream():
            kept += part
            if len(kept) >= BYTES_MAX:
                break
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(response.status, named, kept[:BYTES_MAX])


def _timeouts(deadline: float) -> dict[str, float]:
    return dict.fromkeys(("connect", "read", "write", "pool"), max(deadline - time.monotonic(), 0.001))


def _unreachable(error: BaseException) -> Failed:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
            return Failed("tls", f"Its TLS certificate was not accepted: {reason}.")
        cause = cause.__cause__ or cause.__context__
    return Failed("unreachable", "It did not take the connection.")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def resolve(host: str, port: int) -> list[str]:
    """Look up every address of a host; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _looked_up(host: str, port: int, deadline: float) -> list[str]:
    """Look up a host within the deadline: the system's resolver takes as long as it likes, in a thread of its own."""
    found: list[str] = []

    def look() -> None:
        try:
            found.extend(resolve(host, port))
        except (OSError, UnicodeError):
            return

    thread = threading.Thread(target=look, daemon=True, name="look-up")
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    if not found:
        raise Failed("unresolved", "Its name could not be looked up.")
    return list(found)


class _Pinned(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name says by now."""

    def __init__(self, addresses: list[str], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        for address in self._addresses[:-1]:
            try:
                return self._connect(address, port, share=2)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(self._addresses[-1], port, share=1)

    def _connect(self, address: str, port: int, *, share: int) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout) / share
        return _Timed(self._sockets.connect_tcp(address, port, timeout=left), self._deadline)


class _Timed(httpcore.NetworkStream):
    """A stream whose reads and writes share one deadline, however many there are."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come; raises httpcore.ReadTimeout at the deadline."""
        return self._stream.read(max_bytes, timeout=_left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it; raises httpcore.WriteTimeout at the deadline."""
        self._stream.write(buffer, timeout=_left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on in TLS; raises httpcore.ConnectTimeout at the deadline."""
        left = _left(self._deadline, httpcore.ConnectTimeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, timeout=left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks of a connection."""
        return self._stream.get_extra_info(info)


def _left(deadline: float, late: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the deadline has passed")
    return left
