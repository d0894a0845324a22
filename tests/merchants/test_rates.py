"""How many requests a key and its merchant may send, and sign-in attempts an address and an account."""

import logging
import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from merchants import rates
from merchants.errors import TooManyRequests
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db

PATH = "/v0/products"
WINDOW = 2**28  # seconds


@pytest.fixture(autouse=True)
def _few(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three requests of a key, five of a merchant, in a window that does not end meanwhile."""
    monkeypatch.setattr(rates, "WINDOW_SECONDS", WINDOW)
    monkeypatch.setattr(rates, "_redis", rates._Redis())
    settings.RATE_PER_KEY = 3 / WINDOW
    settings.RATE_PER_MERCHANT = 5 / WINDOW


def statuses(server: Caller, times: int) -> list[int]:
    return [server.get(PATH).status_code for _ in range(times)]


class TestKeys:
    def test_are_refused_beyond_their_limit_and_told_when_to_come_back(self) -> None:
        server = caller()
        assert statuses(server, 4) == [200, 200, 200, 429]
        answer = server.get(PATH)
        assert answer.json()["code"] == "RATE_LIMITED"
        assert answer.json().keys() == {"error", "message", "code", "requestId"}
        assert int(answer["Retry-After"]) > 0

    def test_of_one_merchant_share_its_limit_and_no_other(self) -> None:
        first = caller()
        second = caller(merchant=first.merchant)
        assert statuses(first, 3) + statuses(second, 3) == [200] * 5 + [429]
        assert statuses(caller(), 1) == [200]

    def test_are_not_counted_where_there_is_no_limit(self, settings: Any) -> None:
        settings.RATE_PER_KEY = settings.RATE_PER_MERCHANT = 0
        assert statuses(caller(), 7) == [200] * 7

    def test_are_let_through_without_redis_and_the_log_says_so_once(
        self, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        with caplog.at_level(logging.WARNING, logger=rates.__name__):
            assert statuses(caller(), 5) == [200] * 5
        assert len([record for record in caplog.records if record.name == rates.__name__]) == 1

    def test_are_counted_again_when_redis_is_back(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rates, "AWAY", rates.timedelta(0))
        server, url = caller(), settings.REDIS_URL
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        assert statuses(server, 4) == [200] * 4
        settings.REDIS_URL = url
        assert statuses(server, 4) == [200, 200, 200, 429]


class TestOneThing:
    def test_is_refused_beyond_its_number_and_says_when_it_may_be_done_again(self) -> None:
        once: dict[str, Any] = {"merchant_id": uuid.uuid4(), "most": 1, "seconds": WINDOW, "now": timezone.now()}
        rates.take_one("pay", **once)
        with pytest.raises(TooManyRequests, match=rf"once in {WINDOW} seconds\. Try again in \d+ s\.") as refused:
            rates.take_one("pay", **once)
        assert int(refused.value.headers["Retry-After"]) > 0


class TestSignIn:
    @staticmethod
    def attempt(email: str, address: str) -> str:
        form = {"login": email, "password": "wrong password here"}
        answer = Client(REMOTE_ADDR=address).post("/accounts/login/", form)
        return "later" if answer.status_code == 429 or b"Too many failed login attempts" in answer.content else "wrong"

    def test_is_limited_for_an_account_from_whatever_address(self) -> None:
        said = [self.attempt("owner@judgebox.example", f"192.0.2.{number}") for number in range(7)]
        assert said == ["wrong"] * 5 + ["later"] * 2
        assert self.attempt("other@judgebox.example", "192.0.2.1") == "wrong"

    def test_is_limited_for_an_address_to_whatever_account(self) -> None:
        said = [self.attempt(f"user{number}@judgebox.example", "192.0.2.1") for number in range(12)]
        assert said == ["wrong"] * 10 + ["later"] * 2
        assert self.attempt("user99@judgebox.example", "192.0.2.2") == "wrong"
