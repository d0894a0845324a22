"""The dashboard in a real browser: every page fits, can be read by everyone, and breaks no rule of its policy."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from billing.models import Authorization, Coupon, PaymentLink, Wallet
from dashboard.reads import invoices
from entitlements.models import Budget, Grant
from merchants import ids
from merchants.models import ApiKey, Membership
from merchants.webhooks import endpoints, listing
from tests import browsing, factories, scenes
from tests.billing.payments import hosted
from tests.dashboard.reads.test_events import meter_event
from tests.dashboard.views import test_attention as attention
from tests.dashboard.views.test_payments import paid
from tests.dashboard.views.test_refused import turned_down
from tests.dashboard.views.test_webhooks import told
from tests.entitlements import entitled
from tests.merchants.webhooks.shops import Shop

if TYPE_CHECKING:
    from tests.scenes import Scene

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def home(served_url: str, scene: "Scene", browser_page: Any) -> str:
    """Where the owner's test dashboard is; the browser is signed in."""
    factories.coupon(merchant=scene.test, percent_off=5)
    browsing.sign_in(browser_page, served_url, scene.user)
    return f"{served_url}/{scene.slug}/test"


def paths(scene: "Scene") -> list[str]:
    buyer = scene.buyers[0]
    customer = f"/customers/{ids.text('cus', buyer.customer.id)}"
    budget = ids.text("bgt", Budget.objects.get(customer_id=buyer.customer.id, scope="agent").id)
    plan = f"/plans/{ids.text('plan', scene.plan.id)}"
    price = ids.text("price", scene.plan.versions.get().prices.earliest("price__created_at").price_id)
    entitled.include(buyer, scene.metrics[0])
    grant = Grant.objects.filter(customer_id=buyer.customer.id).latest("created_at")
    turned_down(scene)
    included = f"{customer}/entitlements/{ids.text('ent', grant.entitlement_id)}"
    document = invoices.document(buyer.invoice)
    invoice, line = f"/invoices/{document.row.id}", document.lines[0].id
    member = f"/settings/team/{ids.text('mem', Membership.objects.get(user=scene.user).id)}"
    coupon = f"/coupons/{ids.text('cpn', Coupon.objects.get(merchant=scene.test).id)}"
    subscription = ids.text("sub", buyer.subscription.id)
    wallet = f"{customer}/wallets/{ids.text('acc', buyer.wallet.id)}"
    credit = f"{wallet}/credits/{ids.text('crd', scenes.moved(buyer).id)}"
    alert = f"{wallet}/alerts/{ids.text('alrt', scenes.watched(scene, buyer).id)}"
    key = f"/keys/{ids.text('key', ApiKey.objects.get(merchant=scene.test).id)}"
    metric = scene.metrics[0]
    metric.event_type, metric.value_property = "completion", "$.response.usage.completion_tokens_details['all of them']"
    metric.group_by = {"model": "$.model"}
    metric.filters = [{"property": "$.tier", "operator": "in", "values": ["paid", "trial", "enterprise"]}]
    metric.filter = (
        "has(data.response.usage.total_tokens)&&data.response.usage.total_tokens>1000&&metadata.stage=='live'"
    )
    metric.save()
    shop = Shop(scene.test)
    listing.list_events(merchant_id=scene.test.id, now=scene.now)  # what happened before anybody listened
    hook = f"/webhooks/{endpoints.text_id(shop.endpoint())}"
    attention.stuck(scene)
    sent = f"{hook}/deliveries/{ids.text('whd', told(shop).id)}"
    payment = f"/payments/{ids.text('att', paid(buyer.wallet).id)}"
    withdrawal = f"/withdrawals/{ids.text('wd', scenes.withdrawal(scene, buyer).id)}"
    metered = meter_event(scene, [metric.id.hex, "4", None, {"groups": {"model": "large"}, "metered": True}])
    return [
        "/", "/events", "/events/refused",
        "/events?q=nothing", f"/events/{ids.text('usg', buyer.events[4].id)}", f"/events/{metered}",
        "/customers", customer,
        "/customers/new", f"{customer}/edit", f"{customer}/subscriptions/{subscription}/settings",
        f"{customer}/subscribe", f"{customer}/portal/{subscription}",
        f"{customer}/budgets/new", f"{customer}/budgets/{budget}", f"{customer}/budgets/{budget}/archive",
        f"{wallet}/top-up", wallet, f"{wallet}/credit", f"{credit}/void",
        f"{wallet}/alert", f"{alert}/delete", "/payouts", "/payouts/new", "/payouts/schedule/USD",
        f"/payouts/{ids.text('po', scenes.payout(scene).id)}",
        withdrawal, f"{withdrawal}/move", "/withdrawals", "/withdrawals?status=failed", "/products",
        f"/products/{ids.text('prod', scene.product.id)}", "/metrics",
        f"/metrics/{ids.text('bm', scene.metrics[0].id)}",
        "/metrics/new", "/plans", plan, "/plans/new", f"{plan}/prices/new", f"{plan}/prices/new?model=formula",
        f"{plan}/prices/{price}/edit", f"{plan}/fees/new", f"{plan}/commitment/new", f"{plan}/archive",
        "/coupons", "/coupons/new", f"{coupon}/withdraw",
        f"{customer}/coupons/{ids.text('sub', buyer.subscription.id)}",
        f"{customer}/wallets/{ids.text('acc', buyer.credit.id)}/limit", "/keys", "/keys/new",
        f"{key}/roll", f"{key}/revoke", "/payments", payment, f"{payment}/refund",
        "/settings/payments", "/settings", "/account", "/settings/team", "/settings/team/invite", member,
        "/credit-notes", "/disputes", f"{invoice}/add-line", f"{invoice}/credit",
        "/attention", "/invoices", "/invoices?status=failed", invoice, f"{invoice}/lines/{line}", f"{member}/remove",
        "/webhooks", "/webhooks/new", hook, f"{hook}/edit", f"{hook}/rotate", f"{hook}/remove", sent,
        "/event-log", "/emails",
        "/settings/audit-log", "/settings/leave", "/settings/invoices", "/settings/billing",
        f"/products/{ids.text('prod', scene.product.id)}/features/new",
        f"{customer}/entitlements/new", included, f"{included}/end", f"{included}/grants/new",
        f"{included}/grants/{ids.text('grt', grant.id)}/void", *links(scene),
    ]  # fmt: skip


def links(scene: "Scene") -> list[str]:
    hosted.pages(scene)
    link = ids.text("pl", PaymentLink.objects.get(completed=1).id)
    person = ids.text("auth", Authorization.objects.get(status="pending").id)
    return [
        "/payment-links", "/payment-links/new", f"/payment-links/{link}", "/authorizations", "/authorizations/new",
        f"/authorizations/{person}/revoke", "/settings/allowed-sites",
    ]  # fmt: skip


class TestEveryPage:
    def test_is_accessible_in_both_schemes_and_fits_every_width(
        self, home: str, scene: "Scene", browser_page: Any
    ) -> None:
        found = []
        for path in paths(scene):
            browsing.open_page(browser_page, home + path)
            found += [f"{path}: {fault}" for fault in browsing.faults_of_both_schemes(browser_page)]
            found += [f"{path}: sticks out {width}" for width in browsing.sticks_out(browser_page)]
        assert found == []

    @pytest.mark.parametrize(("colour", "is_of_the_dark"), [("#222", True), ("#eee", False)])
    def test_would_be_caught_with_a_colour_that_cannot_be_read(
        self, home: str, browser_page: Any, colour: str, is_of_the_dark: bool
    ) -> None:
        browsing.open_page(browser_page, f"{home}/customers")
        browser_page.evaluate("colour => { document.querySelector('main .card td a').style.color = colour }", colour)
        found = [fault for fault in browsing.faults_of_both_schemes(browser_page) if "color-contrast" in fault]
        assert {fault.startswith("in the dark: ") for fault in found} == {is_of_the_dark}

    def test_of_a_new_merchant_is_accessible_and_fits(
        self, served_url: str, home: str, scene: "Scene", browser_page: Any
    ) -> None:
        live = f"{served_url}/{scene.slug}"
        found = []
        for path in (
            "/",
            "/events",
            "/customers",
            "/products",
            "/metrics",
            "/plans",
            "/coupons",
            "/keys",
            "/webhooks",
            "/event-log",
            "/emails",
            "/plans/new",
        ):
            browsing.open_page(browser_page, live + path)
            found += [f"{path}: {fault}" for fault in browsing.faults(browser_page)]
            found += [f"{path}: sticks out {width}" for width in browsing.sticks_out(browser_page)]
        assert found == []


class TestEventExplorer:
    def test_opens_and_closes_a_row_in_place(self, home: str, browser_page: Any) -> None:
        browsing.open_page(browser_page, f"{home}/events")
        opener = browser_page.locator(".row-open").first
        opener.click()
        detail = browser_page.locator("tr.detail")
        detail.get_by_text("As recorded").wait_for()
        assert opener.get_attribute("aria-expanded") == "true"
        assert not browsing.faults(browser_page)
        opener.click()
        assert not detail.is_visible()
        assert opener.get_attribute("aria-expanded") == "false"

    def test_filters_without_a_reload_and_comes_back(self, home: str, browser_page: Any) -> None:
        browsing.open_page(browser_page, f"{home}/events")
        browser_page.get_by_label("Status").select_option("refunded")
        browser_page.wait_for_url(re.compile("status=refunded"))
        browser_page.wait_for_function("document.querySelectorAll('.row-open').length === 2")
        browser_page.get_by_label("Status").select_option("included")
        browser_page.wait_for_url(re.compile("status=included"))
        browser_page.go_back()
        browser_page.wait_for_url(re.compile("status=refunded"))
        assert browser_page.locator("nav[aria-label=Main]").count() == 1


class TestOverview:
    def test_reads_a_chart_with_the_arrow_keys(self, home: str, browser_page: Any) -> None:
        browsing.open_page(browser_page, f"{home}/")
        figure = browser_page.locator("figure").first
        figure.focus()
        figure.press("ArrowLeft")
        tip = figure.locator(".tip")
        newest = tip.inner_text()
        figure.press("ArrowLeft")
        assert tip.inner_text() != newest
        assert "$" in tip.inner_text()
        figure.press("Escape")
        assert not tip.is_visible()

    def test_changes_its_range_in_place(self, home: str, browser_page: Any) -> None:
        browsing.open_page(browser_page, f"{home}/")
        browser_page.get_by_role("link", name="7 days").click()
        browser_page.wait_for_url(re.compile("range=7d"))
        browser_page.get_by_role("link", name="7 days").and_(browser_page.locator("[aria-current]")).wait_for()
        browser_page.go_back()
        browser_page.get_by_role("link", name="30 days").and_(browser_page.locator("[aria-current]")).wait_for()
        assert browser_page.locator("html").count() == 1
        assert browser_page.locator("nav[aria-label=Main]").count() == 1

    def test_opens_the_menu_of_a_phone(self, home: str, browser_page: Any) -> None:
        browser_page.set_viewport_size({"width": 390, "height": 800})
        browsing.open_page(browser_page, f"{home}/")
        menu = browser_page.get_by_role("navigation", name="Main")
        assert not menu.is_visible()
        browser_page.get_by_role("button", name="Open menu").click()
        assert menu.is_visible()
        assert not browsing.faults(browser_page)
        menu.get_by_role("link", name="Customers").click()
        browser_page.wait_for_url(re.compile("/customers"))

    def test_remembers_the_theme(self, home: str, browser_page: Any) -> None:
        browsing.open_page(browser_page, f"{home}/")
        with browser_page.expect_response("**/theme"):
            browser_page.get_by_role("button", name="Switch between light and dark").click()
        assert browser_page.locator("html").get_attribute("data-theme") == "dark"
        browser_page.reload()
        assert browser_page.locator("html").get_attribute("data-theme") == "dark"


class TestCustomer:
    def test_shows_changes_by_itself(self, home: str, scene: "Scene", browser_page: Any) -> None:
        buyer = scene.buyers[0]
        browsing.open_page(browser_page, f"{home}/customers/{ids.text('cus', buyer.customer.id)}")
        Wallet.objects.filter(bucket=buyer.wallet.bucket, id=buyer.wallet.id).update(held=77 * scenes.NANOS)
        browser_page.evaluate("document.body.dispatchEvent(new CustomEvent('tick'))")
        browser_page.get_by_text("$77.00 of it held").wait_for()


class TestPrices:
    def test_are_told_in_words_while_they_are_typed(self, home: str, scene: "Scene", browser_page: Any) -> None:
        metric = factories.metric(product=scene.product, name="Frames", unit="frame")
        plan = f"{home}/plans/{ids.text('plan', scene.plan.id)}"
        browsing.open_page(browser_page, f"{plan}/prices/new")
        browser_page.get_by_role("link", name="Graduated").click()
        browser_page.get_by_label("Metric").select_option(str(metric.id))
        first, second = (browser_page.get_by_role("group", name=f"Tier {n}") for n in (1, 2))
        first.get_by_label("Up to").fill("1000")
        first.get_by_label("Unit price").fill("0.01")
        second.get_by_label("Unit price").fill("0.008")
        browser_page.get_by_text("$0.01 per frame for the first 1,000, then $0.008.").wait_for()
        browser_page.get_by_text("$10.008", exact=True).wait_for()
        browser_page.get_by_role("button", name="More rows").click()
        browser_page.get_by_role("group", name="Tier 6").wait_for()
        assert not browsing.faults(browser_page)
        assert not browsing.sticks_out(browser_page)
        browser_page.get_by_role("button", name="Add price").click()
        browser_page.get_by_text("$0.01 per frame for the first 1,000, then $0.008").wait_for()
        assert not browsing.faults(browser_page)
        assert not browsing.sticks_out(browser_page)

    def test_are_tried_on_sample_events_where_they_are_formulas(
        self, home: str, scene: "Scene", browser_page: Any
    ) -> None:
        metric = factories.metric(product=scene.product, name="Frames", unit="frame")
        browsing.open_page(browser_page, f"{home}/plans/{ids.text('plan', scene.plan.id)}/prices/new?model=formula")
        browser_page.get_by_label("Metric").select_option(str(metric.id))
        browser_page.get_by_label("At most, for each use").fill("1")
        formula = browser_page.get_by_label("Formula", exact=True)
        with browser_page.expect_request("**/preview*"):
            formula.fill("quantity * 0.01")
        formula.fill("quantity * 0.01 + double(metadata.tear)" + " + 0" * 50)  # while the first is answered
        browser_page.get_by_text('there is no "tear" in metadata').first.wait_for()
        assert not browsing.faults(browser_page)
        assert not browsing.sticks_out(browser_page)
        formula.fill("quantity * 0.01")
        browser_page.get_by_text("gives 2.5; it must be at least 0 and at most 1.").wait_for()
        browser_page.get_by_role("button", name="Try it").click()
        browser_page.get_by_text("gives 2.5; it must be at least 0 and at most 1.").wait_for()
        assert not browsing.faults(browser_page)
        assert not browsing.sticks_out(browser_page)


class TestKeys:
    def test_asks_in_a_dialog_before_it_revokes(self, home: str, scene: "Scene", browser_page: Any) -> None:
        browsing.open_page(browser_page, f"{home}/keys")
        browser_page.get_by_role("link", name="Revoke First key").click()
        dialog = browser_page.get_by_role("dialog")
        assert dialog.is_visible()
        assert not browsing.faults(browser_page)
        dialog.get_by_role("button", name="Keep it").click()
        assert not dialog.is_visible()
        browser_page.get_by_role("link", name="Revoke First key").click()
        dialog.get_by_role("button", name="Revoke key").click()
        browser_page.get_by_text("is revoked").wait_for()

    def test_copies_the_secret(self, home: str, scene: "Scene", browser_page: Any) -> None:
        browser_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        browsing.open_page(browser_page, f"{home}/keys/new")
        browser_page.get_by_label("Name").fill("Server")
        browser_page.get_by_role("button", name="Create key").click()
        browser_page.get_by_role("button", name="Copy API key").click()
        browser_page.get_by_text("Copied", exact=True).wait_for(state="attached")
        assert browser_page.evaluate("navigator.clipboard.readText()").startswith("fth_sk_test_")


class TestRegistration:
    def test_leads_from_nothing_to_the_first_steps(self, served_url: str, browser_page: Any, db: None) -> None:
        for path in ("/accounts/login/", "/accounts/password/reset/", "/accounts/signup/"):
            browsing.open_page(browser_page, served_url + path)
            assert not browsing.faults(browser_page)
            assert not browsing.sticks_out(browser_page)
        browser_page.get_by_label("Organization").fill("Acme Compute")
        browser_page.get_by_label("Work email").fill("founder@acme.example")
        browser_page.get_by_label("Password").fill(scenes.PASSWORD)
        browser_page.get_by_role("button", name="Create account").click()
        browser_page.get_by_text("Your first test key").wait_for()
        assert browser_page.url.endswith("/acme-compute/test/")
        assert not browsing.faults(browser_page)
        browser_page.reload()
        assert browser_page.get_by_text("Your first test key").count() == 0


class TestWithoutScripts:
    def test_every_step_works(self, served_url: str, scene: "Scene", browser: Any) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        browsing.sign_in(page, served_url, scene.user)
        home = f"{served_url}/{scene.slug}/test"
        page.goto(f"{home}/")
        page.get_by_role("link", name="7 days").click()
        assert "range=7d" in page.url
        page.locator("figure summary").first.click()
        assert page.locator("figure table").first.is_visible()
        page.goto(f"{home}/events?status=refunded")
        page.get_by_role("link", name=re.compile("Details of")).first.click()
        assert page.get_by_role("heading", name="Usage event").is_visible()
        page.goto(f"{home}/keys")
        page.get_by_role("link", name="Revoke First key").click()
        page.get_by_role("button", name="Revoke key").click()
        assert page.get_by_text("is revoked").is_visible()
        context.close()
