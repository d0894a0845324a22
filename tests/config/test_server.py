"""The web server on its own: what comes whole, in parts, at once, too late, too long, or is no HTTP at all."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from config import server
from merchants import keys
from merchants.models import ApiKey
from tests.charging.sellers import Seller, json_bytes, seller

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS_MAX = 10.0


class Client:
    """A connection, spoken to in bytes."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self.socket = socket.create_connection((at.hostname, at.port), timeout=SECONDS_MAX)
        self.answers = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> tuple[int, dict[str, str], Any]:
        line = self.answers.readline().split(b" ")
        headers = {}
        while (header := self.answers.readline().strip()) != b"":
            name, _, value = header.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        body = self.answers.read(int(headers["content-length"]))
        return int(line[1]), headers, json.loads(body)

    def hears_nothing_more(self) -> bool:
        return self.answers.read(1) == b""

    def is_left(self) -> bool:
        """Whether the server ends the connection in time, be it after an answer or with a reset."""
        try:
            self.answers.read()
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True


@pytest.fixture
def client(served_url: str) -> Iterator[Client]:
    made = Client(served_url)
    yield made
    made.answers.close()
    made.socket.close()


def request(shop: Seller, body: bytes, *, path: str = "/v0/usage", **headers: str) -> bytes:
    given = {**shop.headers, "Host": "127.0.0.1", "Content-Type": "application/json", **headers}
    given.setdefault("Content-Length", str(len(body)))
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class TestConnections:
    def test_answer_what_comes_whole_and_go_on(self, client: Client) -> None:
        shop = seller()
        for _ in range(3):
            client.say(request(shop, json_bytes(shop.usage())))
            status, headers, said = client.hear()
            assert (status, said["object"]) == (201, "usageEvent")
            assert headers["content-type"] == "application/json"
            assert headers["x-request-id"]
            assert headers["date"]

    def test_hold_every_call_against_its_key_whether_or_not_its_head_is_known(self, client: Client) -> None:
        shop = seller()
        for _ in range(2):
            client.say(request(shop, json_bytes(shop.usage())))
            assert client.hear()[0] == 201
        ApiKey.objects.filter(merchant_id=shop.seeded.merchant.id).update(revoked_at=datetime.now(UTC))
        deadline = time.monotonic() + keys.CACHE_SECONDS + 1
        status = 201
        while status == 201 and time.monotonic() < deadline:
            time.sleep(0.1)
            client.say(request(shop, json_bytes(shop.usage())))
            status, _, said = client.hear()
        assert (status, said["code"]) == (401, "API_KEY_REVOKED")

    def test_read_on_after_calls_whose_heads_are_known(self, client: Client) -> None:
        shop = seller()
        whole = request(shop, json_bytes(shop.usage()))
        client.say(whole)
        client.say(whole)  # the same head, and the same event
        client.say(whole[:60])
        client.say(whole[60:] + whole)
        said = [client.hear() for _ in range(4)]
        assert [status for status, _, _ in said] == [201] * 4
        assert ["idempotent-replayed" in headers for _, headers, _ in said] == [False, True, True, True]

    @pytest.mark.parametrize("cut", [1, 40, -40, -1])
    def test_answer_what_comes_in_two_parts(self, client: Client, cut: int) -> None:
        shop = seller()
        whole = request(shop, json_bytes(shop.usage()))
        client.say(whole[:cut])
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.say(whole[cut:])
        assert client.hear()[0] == 201

    def test_answer_a_body_that_comes_after_its_head(self, client: Client) -> None:
        shop = seller()
        body = json_bytes(shop.usage())
        client.say(request(shop, body)[: -len(body)])
        client.say(body)
        assert client.hear()[0] == 201

    def test_answer_what_is_sent_ahead_in_the_order_it_was_sent(self, client: Client) -> None:
        shop = seller()
        events = [shop.usage() for _ in range(6)]
        client.say(b"".join(request(shop, json_bytes(event)) for event in events))
        said = [client.hear() for _ in events]
        assert [status for status, _, _ in said] == [201] * 6
        assert [event["idempotencyKey"] for _, _, event in said] == [event["idempotencyKey"] for event in events]

    def test_mix_the_lane_with_everything_else(self, client: Client) -> None:
        shop = seller()
        health = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        client.say(request(shop, json_bytes(shop.usage())) + health + request(shop, json_bytes(shop.usage())))
        first, second, third = client.hear()[0], client.hear()[0], client.hear()[0]
        assert (first, second, third) == (201, 200, 201)

    def test_say_so_and_end_when_they_are_asked_to(self, client: Client) -> None:
        shop = seller()
        client.say(request(shop, json_bytes(shop.usage()), Connection="close"))
        status, headers, _ = client.hear()
        assert (status, headers["connection"]) == (201, "close")
        assert client.hears_nothing_more()

    def test_wait_for_no_body_that_waits_for_them(self, client: Client) -> None:
        shop = seller()
        body = json_bytes(shop.usage())
        client.say(request(shop, body, Expect="100-continue")[: -len(body)])
        assert client.answers.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.answers.readline() == b"\r\n"
        client.say(body)
        assert client.hear()[0] == 201

    def test_refuse_parameters_like_the_lane(self, client: Client) -> None:
        shop = seller()
        client.say(request(shop, json_bytes(shop.usage()), path="/v0/usage?a=1"))
        assert client.hear()[0] == 400

    def test_keep_the_headers_of_what_is_sent_ahead_apart(self, client: Client) -> None:
        shop, other = seller(), seller()
        first = request(shop, json_bytes(shop.usage()), **{"X-Request-Id": "request-a"})
        bare = request(shop, json_bytes(shop.usage())).replace(f"Authorization: Bearer {shop.secret}\r\n".encode(), b"")
        last = request(other, json_bytes(other.usage()), **{"X-Request-Id": "request-b"})
        client.say(bare + first + bare + last)
        said = [client.hear() for _ in range(4)]
        assert [status for status, _, _ in said] == [401, 201, 401, 201]
        assert said[1][1]["x-request-id"] == "request-a"
        assert said[3][1]["x-request-id"] == "request-b"

    def test_take_no_trailer_for_a_header(self, client: Client) -> None:
        shop = seller()
        head = b"GET /v0/customers HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        client.say(head + f"Authorization: Bearer {shop.secret}\r\n\r\n".encode())
        assert client.hear()[0] == 401

    @pytest.mark.parametrize("offer", [{"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}])
    @pytest.mark.parametrize("cut", [None, -30])
    def test_go_on_where_another_protocol_is_offered(
        self, client: Client, offer: dict[str, str], cut: int | None
    ) -> None:
        shop = seller()
        whole = request(shop, json_bytes(shop.usage()), **offer)
        client.say(whole[:cut])
        if cut:
            time.sleep(0.2)
            client.say(whole[cut:])
        assert client.hear()[0] == 201

    def test_answer_before_they_refuse_nonsense(self, client: Client) -> None:
        shop = seller()
        client.say(request(shop, json_bytes(shop.usage())))
        client.hear()
        client.say(request(shop, json_bytes(shop.usage())) + b"NONSENSE\r\n\r\n")
        assert client.hear()[0] == 201
        assert client.hears_nothing_more()

    def test_answer_a_client_that_has_nothing_more_to_say(self, client: Client) -> None:
        shop = seller()
        client.say(request(shop, json_bytes(shop.usage())))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.hear()[0] == 201
        assert client.hears_nothing_more()

    def test_refuse_a_key_that_is_sent_twice(self, client: Client) -> None:
        shop = seller()
        twice = {"Idempotency-Key": "a\r\nIdempotency-Key: b"}
        client.say(request(shop, json_bytes(shop.reserve()), path="/v0/entitlements", **twice))
        assert client.hear()[2]["code"] == "INVALID_IDEMPOTENCY_KEY"

    @pytest.mark.parametrize(
        "nonsense",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"POST /v0/usage HTTP/9.9\r\n\r\n",
            b"POST /v0/usage HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v0/usage HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
            b"GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n",
        ],
    )
    def test_refuse_what_is_no_http(self, client: Client, nonsense: bytes) -> None:
        client.say(nonsense)
        status, headers, said = client.hear()
        assert (status, headers["connection"]) == (400, "close")
        assert (said["code"], said["requestId"]) == ("INVALID_REQUEST", headers["x-request-id"])
        assert client.hears_nothing_more()

    @pytest.mark.parametrize("beginning", [b"", b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"])
    def test_end_at_a_head_or_trailers_without_end(self, client: Client, beginning: bytes) -> None:
        client.say(b"POST /v0/usage HTTP/1.1\r\n" + beginning)
        with contextlib.suppress(ConnectionError):  # a reset, or a broken pipe, as it happens
            for _ in range(4 * server.HEAD_BYTES_MAX // 1000):
                client.say(b"X-Padding: " + b"a" * 1000 + b"\r\n")
        assert client.is_left()


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class TestCloseIfLate:
    @pytest.mark.parametrize(
        ("sent", "seconds_max"),
        [(b"", server.IDLE_SECONDS_MAX), (b"POST /v0/usage HTTP/1.1\r\nHost: a\r\n", server.REQUEST_SECONDS_MAX)],
    )
    def test_hangs_up_when_nothing_comes_for_too_long(self, sent: bytes, seconds_max: float) -> None:
        async def scene() -> tuple[bool, bool]:
            config = server.uvicorn.Config(server.APPLICATION, http=server.Connection, log_config=None)
            connection = server.Connection(config, server.uvicorn.server.ServerState(), {})
            transport = _Transport()
            connection.connection_made(transport)
            began = asyncio.get_running_loop().time()
            connection.data_received(sent)
            connection.close_if_late(began + seconds_max - 1)
            patient = transport.closed
            connection.close_if_late(began + seconds_max + 1)
            connection.connection_lost(None)
            return patient, transport.closed

        assert asyncio.run(scene()) == (False, True)
