"""The calls to Farthing: repeated while there is no answer, never when there is one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from examples.code_runner import farthing
from examples.code_runner.farthing import Farthing, Refused, Unreachable
from tests.examples.code_runner.fake_farthing import FakeFarthing

T = TypeVar("T")
RESERVATION = {"customerId": "cus_alice", "entitlementData": [{"billableMetricId": "bm_basic", "quantity": 1}]}


def talk(fake: FakeFarthing, conversation: Callable[[Farthing], Awaitable[T]]) -> T:
    async def main() -> T:
        async with farthing.connect(url=fake.url, api_key="key") as http:
            return await conversation(Farthing(http))

    return asyncio.run(main())


def reserve(fake: FakeFarthing, key: str = "k") -> dict[str, Any]:
    return talk(fake, lambda each: each.reserve(key=key, body=RESERVATION))


class TestReserve:
    @pytest.mark.usefixtures("hurried")
    @pytest.mark.parametrize("trouble", ["down", "lost", 500, 503, 429, 408])
    def test_is_repeated_with_the_same_key_until_answered(self, fake: FakeFarthing, trouble: int | str) -> None:
        fake.trouble["/v0/entitlements"] = [trouble, trouble]
        assert reserve(fake)["id"] in fake.holds
        assert [key for _, _, key in fake.calls] == ["k", "k", "k"]
        assert len(fake.holds) == 1

    @pytest.mark.usefixtures("hurried")
    def test_gives_up_after_a_while(self, fake: FakeFarthing) -> None:
        fake.trouble["/v0/entitlements"] = [503] * 50
        with pytest.raises(Unreachable, match="503"):
            reserve(fake)
        assert len(fake.calls) == farthing.ATTEMPTS_MAX

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422])
    def test_is_not_repeated_when_refused(self, fake: FakeFarthing, status: int) -> None:
        fake.trouble["/v0/entitlements"] = [status]
        with pytest.raises(Refused) as caught:
            reserve(fake)
        assert (caught.value.status, caught.value.code, len(fake.calls)) == (status, "TROUBLE", 1)

    def test_tells_what_is_lacking(self, fake: FakeFarthing) -> None:
        fake.funds["cus_alice"] = 999_999
        with pytest.raises(Refused) as caught:
            reserve(fake)
        assert caught.value.details == {"available": "999999", "required": "1000000"}


class TestPause:
    def test_is_what_the_server_asks_for(self) -> None:
        assert farthing._pause(0, "7") == 7.0

    def test_has_a_limit_whatever_the_server_asks_for(self) -> None:
        assert farthing._pause(0, "86400") == farthing.PAUSE_SECONDS_MAX

    def test_grows(self) -> None:
        assert farthing._pause(0, "") <= 0.2 < 0.4 <= farthing._pause(2, "") <= 0.8

    def test_is_our_own_where_a_date_is_given(self) -> None:
        assert farthing._pause(0, "Wed, 21 Oct 2026 07:28:00 GMT") <= 0.2


class TestRelease:
    def test_gives_back(self, fake: FakeFarthing) -> None:
        id = reserve(fake)["id"]
        talk(fake, lambda each: each.release(reservation_id=id))
        assert (fake.holds, fake.funds["cus_alice"]) == ({}, 10**9)

    def test_is_content_when_nothing_is_held_any_more(self, fake: FakeFarthing) -> None:
        talk(fake, lambda each: each.release(reservation_id="com_gone"))

    def test_is_not_content_with_another_refusal(self, fake: FakeFarthing) -> None:
        fake.trouble["/v0/entitlements/com_1/release"] = [403]
        with pytest.raises(Refused):
            talk(fake, lambda each: each.release(reservation_id="com_1"))


class TestPortalLink:
    def test_has_an_end(self, fake: FakeFarthing) -> None:
        link = talk(fake, lambda each: each.portal_link(subscription_id="sub_alice"))
        assert (link.url, link.expires_at.year) == ("https://pay.example/sub_alice", 2999)
