"""The HTTP side: who may ask, what is answered."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
import pytest

from examples.code_runner import app, sandbox
from examples.code_runner.app import CodeRunner
from examples.code_runner.sandbox import SandboxError
from examples.code_runner.seller import Seller
from examples.code_runner.settings import CannotStart, Settings
from tests.examples.code_runner.fake_farthing import FakeFarthing

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("isolation", "hurried")


def ask(configuration: Settings, story: Callable[[httpx.AsyncClient], Awaitable[T]], *, token: str = "alice") -> T:
    async def main() -> T:
        runner = CodeRunner()
        await runner.start(configuration)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=runner)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://runner", headers=headers) as http:
                return await story(http)
        finally:
            await runner.stop()

    return asyncio.run(main())


def post(configuration: Settings, content: bytes, *, token: str = "alice", key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return ask(configuration, lambda http: http.post("/submissions", content=content, headers=headers), token=token)


def get(configuration: Settings, path: str, *, token: str = "alice") -> httpx.Response:
    return ask(configuration, lambda http: http.get(path), token=token)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without trying the sandbox: each of these starts is one of many."""

    async def pass_by(_: Settings) -> None:
        pass

    monkeypatch.setattr(app, "check_sandbox", pass_by)


HELLO = json.dumps({"code": "print('hello')"}).encode()


@pytest.mark.usefixtures("unchecked")
class TestPost:
    def test_answers_at_once_and_tells_where_to_look(self, configuration: Settings) -> None:
        async def story(http: httpx.AsyncClient) -> None:
            answer = await http.post("/submissions", content=HELLO)
            assert (answer.status_code, answer.json()["status"]) == (202, "running")
            result = (await http.get(answer.headers["Location"] + "?wait=30")).json()
            assert (result["status"], result["stdout"], result["exitCode"]) == ("completed", "hello\n", 0)
            nanos = 1_000_000 + 350 * result["milliseconds"]
            billing = {"state": "reported", "usageEventId": "usg_0", "charged": f"0.{nanos:09}"}
            assert result["billing"] == billing

        ask(configuration, story)

    def test_asks_for_payment(self, configuration: Settings) -> None:
        answer = post(configuration, HELLO, token="bob")
        assert answer.status_code == 402
        assert (answer.json()["code"], answer.json()["topUpUrl"]) == (
            "INSUFFICIENT_FUNDS",
            "https://pay.example/sub_bob",
        )

    def test_asks_to_come_back_when_billing_is_down(self, configuration: Settings, fake: FakeFarthing) -> None:
        fake.trouble["/v0/entitlements"], fake.lasting = ["down"], {"/v0/entitlements"}
        answer = post(configuration, HELLO)
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (
            503,
            "BILLING_UNAVAILABLE",
            "5",
        )

    def test_refuses_a_key_that_was_used_for_another_request(self, configuration: Settings) -> None:
        async def story(http: httpx.AsyncClient) -> list[int]:
            bodies = [HELLO, HELLO, b'{"code": "2"}']
            answers = [
                await http.post("/submissions", content=each, headers={"Idempotency-Key": "k"}) for each in bodies
            ]
            assert answers[0].json()["id"] == answers[1].json()["id"]
            return [answer.status_code for answer in answers]

        assert ask(configuration, story) == [202, 202, 409]

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_refuses_a_key_of_bad_length(self, configuration: Settings, key: str) -> None:
        assert post(configuration, HELLO, key=key).status_code == 400

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"code": ""}',
            b'{"code": 1}',
            b'{"code": "1", "tier": "gold"}',
            b'{"code": "1", "cpu_seconds": 99}',
            b'{"code": "\\ud800"}',
            b'{"code": "\xff"}',
            b'{"code": "1", "stdin": null}',
            json.dumps({"code": "x" * 70_000}).encode(),
        ],
    )
    def test_refuses_what_it_does_not_understand(
        self, configuration: Settings, fake: FakeFarthing, content: bytes
    ) -> None:
        answer = post(configuration, content)
        assert (answer.status_code, answer.json()["code"], fake.calls) == (400, "INVALID_REQUEST", [])

    def test_refuses_a_body_that_is_too_large(self, configuration: Settings) -> None:
        assert post(configuration, b" " * (app.BODY_BYTES_MAX + 1)).status_code == 413

    @pytest.mark.parametrize("token", ["", "mallory", "cus_alice"])
    def test_refuses_strangers(self, configuration: Settings, fake: FakeFarthing, token: str) -> None:
        answer = post(configuration, HELLO, token=token)
        assert (answer.status_code, answer.headers["WWW-Authenticate"], fake.calls) == (401, "Bearer", [])

    def test_hides_its_own_errors(self, configuration: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_: object, **__: object) -> None:
            raise ValueError("secret")

        monkeypatch.setattr(Seller, "submit", fail)
        answer = post(configuration, HELLO)
        assert (answer.status_code, "secret" in answer.text) == (500, False)


@pytest.mark.usefixtures("unchecked")
class TestGet:
    def test_shows_a_page(self, configuration: Settings) -> None:
        answer = get(configuration, "/", token="")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "Code runner" in answer.text

    def test_shows_health(self, configuration: Settings) -> None:
        answer = get(configuration, "/healthz", token="")
        assert answer.json() == {"status": "ok", "underWay": 0, "owed": 0, "stuck": 0}

    @pytest.mark.parametrize("path", ["/submissions/unknown", "/submissions", "/submissions/a/b", "/x"])
    def test_finds_nothing_where_nothing_is(self, configuration: Settings, path: str) -> None:
        assert get(configuration, path).status_code == 404

    @pytest.mark.parametrize("wait", ["-1", "31", "1e1", "x", "nan", "٣"])
    def test_refuses_a_bad_wait(self, configuration: Settings, wait: str) -> None:
        assert get(configuration, f"/submissions/unknown?wait={wait}").status_code == 400

    def test_refuses_strangers(self, configuration: Settings) -> None:
        assert get(configuration, "/submissions/unknown", token="mallory").status_code == 401

    def test_hides_the_submissions_of_others(self, configuration: Settings) -> None:
        async def story(http: httpx.AsyncClient) -> int:
            answer = await http.post("/submissions", content=HELLO)
            bob = {"Authorization": "Bearer bob"}
            return (await http.get(answer.headers["Location"], headers=bob)).status_code

        assert ask(configuration, story) == 404


class TestStart:
    def test_refuses_a_second_seller_on_one_journal(self, configuration: Settings) -> None:
        async def story(_: httpx.AsyncClient) -> None:
            with pytest.raises(CannotStart, match="another code runner"):
                await CodeRunner().start(configuration)

        ask(configuration, story)

    def test_refuses_a_host_that_does_not_isolate(
        self, configuration: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(**_: object) -> None:
            raise SandboxError("not permitted")

        monkeypatch.setattr(sandbox, "run", fail)
        with pytest.raises(CannotStart, match="not permitted"):
            ask(configuration, lambda http: http.get("/"))

    @pytest.mark.parametrize("name", ["FARTHING_API_KEY", "RUNNER_METRIC_PREMIUM", "RUNNER_CUSTOMERS"])
    def test_names_a_missing_setting(self, environment: dict[str, str], name: str) -> None:
        with pytest.raises(CannotStart, match=name):
            Settings.read({key: value for key, value in environment.items() if key != name})

    def test_tells_of_an_unreadable_list_of_customers(self, environment: dict[str, str]) -> None:
        with pytest.raises(CannotStart, match="cannot be read"):
            Settings.read({**environment, "RUNNER_CUSTOMERS": "/nowhere.json"})
