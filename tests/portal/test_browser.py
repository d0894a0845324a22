"""The portal in a real browser."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from billing.models import Wallet
from customers import portal_links
from tests import browsing, scenes
from tests.entitlements import entitled

if TYPE_CHECKING:
    from tests.scenes import Scene

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def link(served_url: str, scene: "Scene") -> str:
    buyer = scene.buyers[0]
    return portal_links.url(
        public_url=served_url,
        subscription_id=buyer.subscription.id,
        customer_id=buyer.customer.id,
        expires_at=datetime.now(UTC) + timedelta(minutes=10),
    )


class TestHome:
    def test_is_accessible_in_both_schemes_and_fits_every_width(
        self, served_url: str, scene: "Scene", browser_page: Any
    ) -> None:
        entitled.include(scene.buyers[0], scene.metrics[0])
        browsing.open_page(browser_page, link(served_url, scene))
        assert browser_page.url == f"{served_url}/portal/"
        assert browsing.faults_of_both_schemes(browser_page) == []
        assert browsing.sticks_out(browser_page) == []

    def test_leads_to_pages_that_are_accessible_and_fit(
        self, served_url: str, scene: "Scene", browser_page: Any
    ) -> None:
        scenes.moved(scene.buyers[0])
        browsing.open_page(browser_page, link(served_url, scene))
        for path in ("history", "auto-top-up", "company"):
            browsing.open_page(browser_page, f"{served_url}/portal/{path}")
            assert browsing.faults(browser_page) == []
            assert browsing.sticks_out(browser_page) == []

    def test_shows_what_is_held_as_it_happens(self, served_url: str, scene: "Scene", browser_page: Any) -> None:
        browsing.open_page(browser_page, link(served_url, scene))
        wallet = scene.buyers[0].wallet
        Wallet.objects.filter(bucket=wallet.bucket, id=wallet.id).update(held=42 * scenes.NANOS)
        browser_page.evaluate("document.body.dispatchEvent(new CustomEvent('tick'))")
        browser_page.get_by_text("$42.00", exact=True).wait_for()

    def test_leaves_a_field_alone_while_somebody_types(
        self, served_url: str, scene: "Scene", browser_page: Any
    ) -> None:
        browsing.open_page(browser_page, link(served_url, scene))
        wallet = scene.buyers[0].wallet
        amount = browser_page.get_by_label("Add money (USD)")
        amount.fill("12")
        Wallet.objects.filter(bucket=wallet.bucket, id=wallet.id).update(held=42 * scenes.NANOS)
        browser_page.evaluate("document.body.dispatchEvent(new CustomEvent('tick'))")
        browser_page.wait_for_load_state("networkidle")
        assert amount.input_value() == "12"
        amount.press("Enter")
        browser_page.get_by_role("button", name="Pay $12.00").wait_for()

    def test_works_without_scripts(self, served_url: str, scene: "Scene", browser: Any) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(link(served_url, scene))
        assert page.get_by_role("heading", name="Available balance").is_visible()
        page.get_by_label("Add money (USD)").fill("5")
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_label("Test card number").fill("4242 4242 4242 4242")
        page.get_by_role("button", name="Pay $5.00").click()
        assert page.get_by_text("Paid, thank you").is_visible()
        page.get_by_role("link", name="Back to your billing").click()
        page.get_by_role("button", name="Close on this device").click()
        page.goto(f"{served_url}/portal/")
        assert page.get_by_role("heading", name="This link has expired").is_visible()
        context.close()


class TestExpired:
    @pytest.mark.browser(expects=["403"])
    def test_is_accessible_and_fits(self, served_url: str, browser_page: Any) -> None:
        browser_page.goto(f"{served_url}/portal/c/nonsense")
        assert browser_page.get_by_role("heading", name="This link has expired").is_visible()
        assert browsing.faults(browser_page) == []
        assert browsing.sticks_out(browser_page) == []
