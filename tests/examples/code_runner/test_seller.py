"""The sale, against a fake Farthing: everyone pays exactly for what was run."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from examples.code_runner import farthing, sandbox, seller
from examples.code_runner.farthing import Farthing
from examples.code_runner.journal import Journal, Submission
from examples.code_runner.sandbox import SandboxError
from examples.code_runner.seller import BillingUnavailable, Busy, KeyReused, Order, PaymentRequired, Seller
from examples.code_runner.settings import Buyer, Settings
from tests.examples.code_runner.fake_farthing import FakeFarthing

T = TypeVar("T")
ALICE, BOB = Buyer("cus_alice", "sub_alice"), Buyer("cus_bob", "sub_bob")
HELLO = Order(code="print('hello')")
BASIC_CEILING = 1_000_000 + 4_000 * 350

pytestmark = pytest.mark.usefixtures("isolation", "hurried")


def sell(configuration: Settings, story: Callable[[Seller], Awaitable[T]]) -> T:
    async def main() -> T:
        journal = Journal(configuration.data_directory / "journal.sqlite3")
        async with farthing.connect(url=configuration.farthing_url, api_key="key") as http:
            shop = Seller(settings=configuration, farthing=Farthing(http), journal=journal)
            await shop.start()
            try:
                return await story(shop)
            finally:
                await shop.stop()
                journal.close()

    return asyncio.run(main())


async def done(shop: Seller, order: Order, *, buyer: Buyer = ALICE, key: str | None = None) -> Submission:
    submission = await shop.submit(buyer=buyer, order=order, client_key=key)
    return await look(shop, submission.id, buyer)


async def look(shop: Seller, id: str, buyer: Buyer = ALICE) -> Submission:
    submission = await shop.look(buyer=buyer, id=id, wait_seconds=30)
    assert submission
    return submission


async def until_nothing_is_owed(shop: Seller) -> None:
    async with asyncio.timeout(30):
        while shop.health()["owed"] or shop.health()["underWay"]:
            await asyncio.sleep(0.02)


class TestSubmit:
    def test_reserves_runs_and_reports(self, configuration: Settings, fake: FakeFarthing) -> None:
        submission = sell(configuration, lambda shop: done(shop, HELLO))
        assert (submission.state, submission.result and submission.result["stdout"]) == ("reported", "hello\n")
        (reservation,), (usage,) = fake.calls_of("/v0/entitlements"), fake.calls_of("/v0/usage")
        assert reservation == {
            "merchantId": "org_example",
            "customerId": "cus_alice",
            "entitlementData": [
                {"billableMetricId": "bm_basic", "quantity": 1},
                {"billableMetricId": "bm_ms", "quantity": 4000},
            ],
            "maxUses": 1,
        }
        assert submission.result
        milliseconds = submission.result["milliseconds"]
        assert usage["properties"] == [
            {"billableMetricId": "bm_basic", "quantity": 1},
            {"billableMetricId": "bm_ms", "quantity": milliseconds},
        ]
        assert (usage["entitlementId"], usage["final"]) == (submission.reservation_id, True)
        assert submission.charged_nanos == 1_000_000 + 350 * milliseconds
        assert (fake.holds, fake.funds["cus_alice"]) == ({}, 10**9 - (1_000_000 + 350 * milliseconds))

    def test_sells_premium_by_its_own_metric(self, configuration: Settings, fake: FakeFarthing) -> None:
        sell(configuration, lambda shop: done(shop, Order(code="1", tier="premium")))
        (usage,) = fake.events.values()
        assert usage["properties"][0] == {"billableMetricId": "bm_premium", "quantity": 1}

    def test_charges_for_a_program_that_fails(self, configuration: Settings) -> None:
        submission = sell(configuration, lambda shop: done(shop, Order(code="1 / 0")))
        assert (submission.state, submission.result and submission.result["status"]) == ("reported", "failed")

    def test_charges_no_more_than_was_reserved(self, configuration: Settings) -> None:
        submission = sell(configuration, lambda shop: done(shop, Order(code="import time; time.sleep(60)")))
        assert submission.charged_nanos == BASIC_CEILING

    def test_runs_many_at_once_and_charges_each_once(self, configuration: Settings, fake: FakeFarthing) -> None:
        async def story(shop: Seller) -> list[Submission]:
            return await asyncio.gather(*(done(shop, HELLO) for _ in range(20)))

        submissions = sell(configuration, story)
        charged = sum(submission.charged_nanos or 0 for submission in submissions)
        assert (len(fake.events), fake.holds, fake.funds["cus_alice"]) == (20, {}, 10**9 - charged)

    def test_turns_down_what_would_wait_for_too_long(
        self, configuration: Settings, fake: FakeFarthing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(seller, "WAITING_MAX_PER_WORKER", 1)

        async def story(shop: Seller) -> None:
            order = Order(code="import time; time.sleep(0.5)")
            for _ in range(2):
                await shop.submit(buyer=ALICE, order=order, client_key=None)
            with pytest.raises(Busy):
                await shop.submit(buyer=ALICE, order=order, client_key=None)

        sell(configuration, story)
        assert len(fake.calls_of("/v0/entitlements")) == 2


class TestNoFunds:
    def test_run_nothing_and_link_to_the_portal(self, configuration: Settings, fake: FakeFarthing) -> None:
        async def story(shop: Seller) -> PaymentRequired:
            with pytest.raises(PaymentRequired) as caught:
                await done(shop, HELLO, buyer=BOB)
            assert shop.health() == {"underWay": 0, "owed": 0, "stuck": 0}
            return caught.value

        lack = sell(configuration, story)
        assert lack.link
        assert lack.link.url == "https://pay.example/sub_bob"
        assert lack.details == {"available": "0", "required": str(BASIC_CEILING)}
        assert fake.events == {}

    def test_ask_for_a_link_once(self, configuration: Settings, fake: FakeFarthing) -> None:
        async def story(shop: Seller) -> None:
            for _ in range(3):
                with pytest.raises(PaymentRequired):
                    await done(shop, HELLO, buyer=BOB)

        sell(configuration, story)
        assert len(fake.calls_of("/v0/subscriptions/sub_bob/portal")) == 1

    def test_are_told_even_without_a_link(self, configuration: Settings, fake: FakeFarthing) -> None:
        fake.trouble["/v0/subscriptions/sub_bob/portal"] = [404]

        async def story(shop: Seller) -> None:
            with pytest.raises(PaymentRequired) as caught:
                await done(shop, HELLO, buyer=BOB)
            assert caught.value.link is None

        sell(configuration, story)

    def test_are_forgotten_after_a_top_up(self, configuration: Settings, fake: FakeFarthing) -> None:
        async def story(shop: Seller) -> Submission:
            with pytest.raises(PaymentRequired):
                await done(shop, HELLO, buyer=BOB, key="mine")
            fake.funds["cus_bob"] = 10**9
            return await done(shop, HELLO, buyer=BOB, key="mine")

        assert sell(configuration, story).state == "reported"


class TestClientKey:
    def test_runs_and_charges_once(self, configuration: Settings, fake: FakeFarthing) -> None:
        async def story(shop: Seller) -> None:
            each = await asyncio.gather(*(shop.submit(buyer=ALICE, order=HELLO, client_key="k") for _ in range(5)))
            assert len({submission.id for submission in each}) == 1
            await look(shop, each[0].id)

        sell(configuration, story)
        assert (len(fake.events), len(fake.calls_of("/v0/entitlements"))) == (1, 1)

    def test_belongs_to_one_request(self, configuration: Settings) -> None:
        async def story(shop: Seller) -> None:
            await done(shop, HELLO, key="k")
            with pytest.raises(KeyReused):
                await done(shop, Order(code="another"), key="k")

        sell(configuration, story)


class TestOurFault:
    def test_is_not_charged(
        self, configuration: Settings, fake: FakeFarthing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        async def fail(**_: object) -> None:
            raise SandboxError("no room")

        monkeypatch.setattr(sandbox, "run", fail)
        submission = sell(configuration, lambda shop: done(shop, HELLO))
        assert (submission.state, submission.result) == ("released", None)
        assert (fake.events, fake.holds, fake.funds["cus_alice"]) == ({}, {}, 10**9)


class TestTrouble:
    @pytest.mark.parametrize("trouble", ["lost", "down", 503, 429])
    def test_with_a_report_is_overcome_and_charged_once(
        self, configuration: Settings, fake: FakeFarthing, trouble: int | str
    ) -> None:
        fake.trouble["/v0/usage"] = [trouble, trouble]
        submission = sell(configuration, lambda shop: done(shop, HELLO))
        assert (submission.state, len(fake.events), len(fake.calls_of("/v0/usage"))) == ("reported", 1, 3)
        assert all(body == fake.calls_of("/v0/usage")[0] for body in fake.calls_of("/v0/usage"))

    def test_that_lasts_does_not_keep_the_result_back(self, configuration: Settings, fake: FakeFarthing) -> None:
        fake.trouble["/v0/usage"], fake.lasting = ["down"], {"/v0/usage"}

        async def story(shop: Seller) -> None:
            submission = await done(shop, HELLO)
            assert (submission.state, submission.result and submission.result["stdout"]) == ("measured", "hello\n")
            fake.trouble["/v0/usage"] = []
            await until_nothing_is_owed(shop)
            assert (await look(shop, submission.id)).state == "reported"

        sell(configuration, story)
        assert len(fake.events) == 1

    @pytest.mark.parametrize("trouble", ["lost", "down", 503])
    def test_with_a_reservation_leaves_nothing_held(
        self, configuration: Settings, fake: FakeFarthing, trouble: int | str
    ) -> None:
        fake.trouble["/v0/entitlements"] = [trouble] * farthing.ATTEMPTS_MAX

        async def story(shop: Seller) -> None:
            with pytest.raises(BillingUnavailable):
                await done(shop, HELLO)
            await until_nothing_is_owed(shop)

        sell(configuration, story)
        assert (fake.events, fake.holds, fake.funds["cus_alice"]) == ({}, {}, 10**9)

    def test_that_ends_in_a_refusal_for_lack_of_funds_is_over(
        self, configuration: Settings, fake: FakeFarthing
    ) -> None:
        fake.trouble["/v0/entitlements"] = ["down"] * farthing.ATTEMPTS_MAX

        async def story(shop: Seller) -> None:
            with pytest.raises(BillingUnavailable):
                await done(shop, HELLO, buyer=BOB)
            await until_nothing_is_owed(shop)

        sell(configuration, story)
        assert fake.holds == {}

    def test_with_a_customer_who_hangs_up_leaves_nothing_held(
        self, configuration: Settings, fake: FakeFarthing
    ) -> None:
        async def story(shop: Seller) -> None:
            request = asyncio.create_task(shop.submit(buyer=ALICE, order=HELLO, client_key=None))
            while not fake.calls:
                await asyncio.sleep(0)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            await until_nothing_is_owed(shop)

        fake.trouble["/v0/entitlements"] = ["lost", "lost"]
        sell(configuration, story)
        assert (fake.events, fake.holds) == ({}, {})

    def test_of_our_own_making_is_not_for_the_customer_to_pay(
        self, configuration: Settings, fake: FakeFarthing
    ) -> None:
        fake.trouble["/v0/entitlements"] = [404]

        async def story(shop: Seller) -> None:
            with pytest.raises(BillingUnavailable):
                await done(shop, HELLO)

        sell(configuration, story)
        assert len(fake.calls) == 1


class TestLook:
    def test_finds_only_ones_own(self, configuration: Settings) -> None:
        async def story(shop: Seller) -> None:
            submission = await done(shop, HELLO)
            assert await shop.look(buyer=BOB, id=submission.id, wait_seconds=0) is None
            assert await shop.look(buyer=ALICE, id="0" * 32, wait_seconds=0) is None

        sell(configuration, story)
