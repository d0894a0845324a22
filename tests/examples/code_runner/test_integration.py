"""The example sells through a real Farthing: what its journal says is what the wallets say."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from django.utils import timezone

from examples.code_runner import farthing, sandbox
from examples.code_runner.farthing import Farthing, Refused
from examples.code_runner.journal import Journal, Submission
from examples.code_runner.sandbox import SandboxError
from examples.code_runner.seller import Order, PaymentRequired, Seller
from examples.code_runner.settings import Buyer, Settings
from examples.code_runner.setup import Account, Catalogue, seller_environment, write_customers
from merchants import ids, registration

T = TypeVar("T")

HELLO = Order(code="print('hello')")
PREMIUM = Order(code="print('hello')", tier="premium")
DOLLAR = 10**9

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("isolation")]


@dataclass
class Market:
    """A merchant's catalogue at a real Farthing, one customer with a dollar and one without."""

    catalogue: Catalogue
    settings: Settings
    rich: Account
    poor: Account

    def wallet(self, account: Account) -> dict[str, int]:
        found = self.catalogue.get(f"/v0/wallets/{account.wallet_id}")
        return {name: int(found[name]) for name in ("balance", "held", "spent", "available")}

    def sell(self, story: Callable[[Seller], Awaitable[T]]) -> T:
        async def main() -> T:
            journal = Journal(self.settings.data_directory / "journal.sqlite3")
            async with farthing.connect(url=self.settings.farthing_url, api_key=self.settings.farthing_api_key) as http:
                shop = Seller(settings=self.settings, farthing=Farthing(http), journal=journal)
                await shop.start()
                try:
                    return await story(shop)
                finally:
                    await shop.stop()
                    journal.close()

        return asyncio.run(main())


@pytest.fixture
def market(served_url: str, tmp_path: Path) -> Iterator[Market]:
    made = registration.register(
        organization="Code Runner", email="ops@example.com", password="correct horse battery", now=timezone.now()
    )
    merchant = {
        "FARTHING_URL": served_url,
        "FARTHING_API_KEY": made.secret,
        "FARTHING_MERCHANT_ID": ids.text("org", made.test.id),
    }
    product = httpx.post(
        f"{served_url}/v0/products",
        json={"merchantId": merchant["FARTHING_MERCHANT_ID"], "name": "Runs", "description": "Runs of programs"},
        headers={"Authorization": f"Bearer {made.secret}"},
    ).json()
    catalogue = Catalogue({**merchant, "FARTHING_PRODUCT_ID": product["id"]})
    plan, metrics = catalogue.create_plan()
    rich = catalogue.create_account(plan=plan, name="Rich", email="rich@example.com")
    poor = catalogue.create_account(plan=plan, name="Poor", email="poor@example.com")
    catalogue.top_up(rich, Decimal("1.00"))
    write_customers(tmp_path / "customers.json", [rich, poor])
    environment = {**merchant, **seller_environment(metrics, tmp_path / "customers.json")}
    (tmp_path / "runs").mkdir()
    yield Market(catalogue, Settings.read({**environment, "RUNNER_DATA_DIR": str(tmp_path)}), rich, poor)
    catalogue.close()


def buyer(account: Account) -> Buyer:
    return Buyer(account.customer_id, account.subscription_id)


async def done(shop: Seller, order: Order, account: Account) -> Submission:
    submission = await shop.submit(buyer=buyer(account), order=order, client_key=None)
    found = await shop.look(buyer=buyer(account), id=submission.id, wait_seconds=30)
    assert found
    return found


def cost(submission: Submission) -> int:
    assert submission.result
    return {"basic": 1_000_000, "premium": 4_000_000}[submission.tier] + 350 * int(submission.result["milliseconds"])


class TestSale:
    def test_charges_what_was_measured_and_gives_the_rest_back(self, market: Market) -> None:
        async def story(shop: Seller) -> list[Submission]:
            orders = [HELLO] * 6 + [PREMIUM] * 3
            return await asyncio.gather(*(done(shop, order, market.rich) for order in orders))

        submissions = market.sell(story)
        assert [each.state for each in submissions] == ["reported"] * 9
        assert [each.charged_nanos for each in submissions] == [cost(each) for each in submissions]
        wallet = market.wallet(market.rich)
        assert (wallet["held"], wallet["available"]) == (0, DOLLAR - sum(cost(each) for each in submissions))

    def test_holds_the_most_it_can_cost_while_it_runs(self, market: Market) -> None:
        async def story(shop: Seller) -> dict[str, int]:
            order = Order(code="import time; time.sleep(1)")
            submission = await shop.submit(buyer=buyer(market.rich), order=order, client_key=None)
            during = market.wallet(market.rich)
            await shop.look(buyer=buyer(market.rich), id=submission.id, wait_seconds=30)
            return during

        during = market.sell(story)
        assert (during["held"], during["available"]) == (1_000_000 + 4_000 * 350, DOLLAR - 2_400_000)

    def test_is_refused_without_funds_and_goes_on_after_a_top_up(self, market: Market) -> None:
        async def story(shop: Seller) -> tuple[PaymentRequired, Submission]:
            with pytest.raises(PaymentRequired) as caught:
                await done(shop, HELLO, market.poor)
            await asyncio.to_thread(market.catalogue.top_up, market.poor, Decimal("0.01"))
            return caught.value, await done(shop, HELLO, market.poor)

        lack, submission = market.sell(story)
        assert lack.link
        assert httpx.get(lack.link.url, follow_redirects=True).status_code == 200
        assert submission.state == "reported"

    def test_releases_the_reservation_when_the_run_fails_on_our_side(
        self, market: Market, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(**_: object) -> None:
            raise SandboxError("no room")

        monkeypatch.setattr(sandbox, "run", fail)
        submission = market.sell(lambda shop: done(shop, HELLO, market.rich))
        assert submission.state == "released"
        assert market.wallet(market.rich) == {"balance": DOLLAR, "held": 0, "spent": 0, "available": DOLLAR}

    def test_that_was_repeated_charges_once(self, market: Market) -> None:
        async def story(shop: Seller) -> Submission:
            submission = await done(shop, HELLO, market.rich)
            assert submission.usage_body
            async with farthing.connect(
                url=market.settings.farthing_url, api_key=market.settings.farthing_api_key
            ) as http:
                again = await Farthing(http).report(body=submission.usage_body)
                assert again["id"] == submission.usage_event_id
                with pytest.raises(Refused, match="IDEMPOTENCY_CONFLICT"):
                    await Farthing(http).report(body={**submission.usage_body, "metadata": {"another": "body"}})
                assert submission.reservation_id
                await Farthing(http).release(reservation_id=submission.reservation_id)
            return submission

        submission = market.sell(story)
        assert market.wallet(market.rich)["available"] == DOLLAR - cost(submission)
