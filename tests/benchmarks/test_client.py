"""The load generator counts what a caller would have suffered."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks import client
from benchmarks.workloads import BATCH_EVENTS, Caller

STALL_SECONDS = 0.3

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers every request, after ``stalls`` seconds for the first."""

    def __init__(self, *, status: int = 201, stalls: float = 0.0) -> None:
        self.status = status
        self.stalls = stalls
        self.paths: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                path = head.split(b" ")[1].decode()
                self.paths.append(path)
                stall, self.stalls = self.stalls, 0.0
                await asyncio.sleep(stall)
                body = b'{"id": "com_1"}'
                writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()  # the client has hung up, or the test is over


def load(server: Server, kind: str, run: Callable[[client.Load], Awaitable[None]]) -> client.Load:
    """Run a load against a server, both on one event loop."""

    async def both() -> client.Load:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        made = client.Load(Caller("127.0.0.1", port, "secret", "org_1", "bm_1", ["cus_1", "cus_2"]), kind)
        async with listening:
            await run(made)
        return made

    return asyncio.run(both())


class TestAtRate:
    def test_sends_as_many_as_the_rate_says(self) -> None:
        server = Server()
        made = load(server, "usage", lambda each: each.at_rate(200, connections=4, seconds=0.5))
        assert made.tally.done == len(made.latencies) == len(server.paths) == 100

    def test_charges_a_stall_to_every_request_that_was_due_meanwhile(self) -> None:
        made = load(Server(stalls=STALL_SECONDS), "usage", lambda each: each.at_rate(200, connections=1, seconds=0.5))
        waited = [latency for latency in made.latencies if latency > STALL_SECONDS / 3]
        assert len(waited) > 20  # a client that waits with sending would have noticed one


class TestAsFastAsItCan:
    @pytest.mark.parametrize(
        ("kind", "paths", "units"),
        [
            ("usage", {"/v0/usage"}, 1),
            ("batch", {"/v0/usage/batch"}, BATCH_EVENTS),
            ("pairs", {"/v0/entitlements", "/v0/usage"}, 0.5),
        ],
    )
    def test_counts_events_and_pairs_rather_than_requests(self, kind: str, paths: set[str], units: float) -> None:
        server = Server()
        made = load(server, kind, lambda each: each.as_fast_as_it_can(connections=1, seconds=0.2))
        assert set(server.paths) == paths
        assert made.tally.done == int(len(server.paths) * units)
        assert made.tally.refused == 0

    def test_counts_refusals_apart(self) -> None:
        made = load(Server(status=429), "usage", lambda each: each.as_fast_as_it_can(connections=2, seconds=0.1))
        assert made.tally.done == 0
        assert made.tally.refused == len(made.latencies) > 0
        assert made.tally.last_refusal.startswith("429 ")


class TestPercentile:
    @pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 51.0), (99, 100.0), (100, 100.0)])
    def test_is_the_value_that_so_many_do_not_exceed(self, percent: float, expected: float) -> None:
        assert client.percentile([float(n) for n in range(100, 0, -1)], percent) == expected

    def test_of_nothing_is_zero(self) -> None:
        assert client.percentile([], 99) == 0.0
