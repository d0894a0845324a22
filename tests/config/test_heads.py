"""Heads that came before: what is remembered of them, and what is left to the parser."""

import pytest

from charging.requests import Request, by_name
from config import heads
from config.heads import Heads

LINES = {
    "Host": "127.0.0.1",
    "Authorization": "Bearer fth_sk_test_x",
    "Content-Type": "application/json",
    "Content-Length": "2",
}


def call(body: bytes = b"{}", *more: str, **changed: str) -> bytes:
    given = LINES | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = ["POST /v0/usage HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def parsed(data: bytes) -> Request:
    """Read a call as the parser does: header names in lower case, values without outer spaces, lines unfolded."""
    head, _, body = data.partition(b"\r\n\r\n")
    headers: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n")[1:]:
        if line.startswith(b" "):
            name, value = headers.pop()
            headers.append((name, value + line))
            continue
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip()))
    return Request("/v0/usage", by_name(headers), whole=body)


def known(data: bytes) -> Heads:
    made = Heads()
    made.learn(data, parsed(data))
    return made


class TestAHeadThatCameBefore:
    def test_says_what_it_said_then(self) -> None:
        found = known(call()).request(call(b"[]"))
        assert found is not None
        assert (found.path, found.whole) == ("/v0/usage", b"[]")
        assert found.header(b"authorization") == "Bearer fth_sk_test_x"

    def test_gives_each_call_an_id_of_its_own(self) -> None:
        remembered = known(call())
        first, second = remembered.request(call()), remembered.request(call())
        assert first is not None
        assert second is not None
        assert first.id != second.id

    @pytest.mark.parametrize(
        "data",
        [
            call(b"{} "),
            call(b"{"),
            call() + call(),
            call(Authorization="Bearer fth_sk_test_y"),
            call().replace(b"Host", b"host"),
            b"\r\n" + call(),
            b"",
            b"\r\n\r\n",
        ],
    )
    def test_is_no_other_head_and_has_no_other_length(self, data: bytes) -> None:
        assert known(call()).request(data) is None


class TestNothingIsLearnt:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(call(Idempotency_Key="a"), id="from what differs from call to call"),
            pytest.param(call(X_Request_Id="request-1"), id="from what names the call"),
            pytest.param(call(b"{}", "Accept: a", "Accept: b"), id="where a header came twice"),
            pytest.param(call(b"{}", "Accept: a", " b"), id="where a header has two lines"),
            pytest.param(call(Content_Type="text/plain"), id="where the body is refused by its type"),
            pytest.param(call(Content_Length="2, 2"), id="where the length is not a number"),
            pytest.param(call(Content_Length="300000"), id="where the body is too long"),
            pytest.param(call(b"{}", "Transfer-Encoding: chunked"), id="where the body has another end"),
            pytest.param(call(b"{} "), id="where more came than the call"),
            pytest.param(call(User_Agent="x" * heads.HEAD_BYTES_MAX), id="from a long head"),
            pytest.param(b"\r\n" + call(), id="where something came before the call"),
        ],
    )
    def test_where_the_same_bytes_might_mean_something_else(self, data: bytes) -> None:
        made = Heads()
        made.learn(data, parsed(data.removeprefix(b"\r\n")))
        assert made.request(data) is None

    def test_beyond_what_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heads, "HEADS_MAX", 2)
        made = Heads()
        agents = [call(User_Agent=f"client/{number}") for number in range(3)]
        for data in agents:
            made.learn(data, parsed(data))
        assert [made.request(data) is not None for data in agents] == [False, False, True]
