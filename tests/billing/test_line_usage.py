"""What lines say was used: what each metric's aggregation came to, who bears it, and what coupons took off."""

import io
from datetime import timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pikepdf
import pytest

from billing import redemptions, rerating, statements
from billing.documents import canonical, einvoice, printing, rendering
from billing.models import Document, PriceVersion
from charging import execution
from config.management.commands import verify
from dashboard.reads import invoices as pages
from entitlements import features, granting
from entitlements.granting import NewGrant
from entitlements.models import Entitlement
from merchants import ids, verification
from merchants.models import Product
from portal import reads
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import DOLLAR, FEBRUARY, GRACE, START, invoices, pass_time, subscribe
from tests.billing.worlds import correct, record, refund
from tests.callers import Caller, caller
from ui import spans

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)

# Aggregation -> unit, what is reported day by day, what it comes to, and how that is said.
USED: dict[str, tuple[str, list[str], str, str]] = {
    "SUM": ("request", ["3", "17", "5"], "25", ""),
    "COUNT": ("call", ["3", "17", "5"], "3", "3 calls counted"),
    "MIN": ("node", ["3", "17", "5"], "3", "Lowest 3 nodes"),
    "MAX": ("seat", ["3", "17", "5"], "17", "Peak 17 seats"),
    "AVG": ("GB", ["3", "5", "1.75"], "3.25", "Average 3.25 GB"),
    "LATEST": ("license", ["3", "17", "5"], "5", "Latest 5 licenses"),
    "UNIQUE_COUNT": ("user", ["3", "17", "3"], "2", "2 unique users"),
    "PERCENTILE": ("Mbps", ["3", "17", "5"], "17", "95th percentile 17 Mbps"),
    "TIME_WEIGHTED_SUM": ("disk", ["28", "0", "0"], "28", "Held on average 28 disks"),
}
AFTERWARDS = ("UNIQUE_COUNT", "PERCENTILE", "TIME_WEIGHTED_SUM")


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    execution.hang_up()


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def product(seller: Caller) -> Product:
    return factories.product(merchant=seller.merchant)


def metered(product: Product, way: str, unit_price: str = "2", **options: Any) -> PriceVersion:
    unit = USED[way][0]
    metric = factories.metric(product=product, name=f"{way} of {unit}", unit=unit, aggregation=way)
    if way == "PERCENTILE":
        metric.percentile = Decimal(95)
        metric.save()
    return factories.price(metric=metric, unit_price=unit_price, **{"term": "in_arrears", **options})


def shown(seller: Caller, buyer: Buyer, number: int = 1) -> list[dict[str, Any]]:
    """The lines of an invoice over HTTP."""
    invoice = next(each for each in invoices(buyer) if each.sequence_number == number)
    return seller.get(f"/v2/invoices/{ids.text('inv', invoice.id)}/lineItems").json()["lineItems"]


def said(line: dict[str, Any]) -> str:
    return line["usage"]["description"] if line["usage"] else ""


def document(buyer: Buyer, number: int = 0) -> dict[str, Any]:
    return canonical.read(Document.objects.get(subject_id=invoices(buyer)[number].id).content)


def printed(buyer: Buyer, number: int = 0) -> list[dict[str, Any]]:
    return printing.pages(document(buyer, number))["lines"]


def portal_lines(buyer: Buyer) -> dict[str, Any]:
    buyer.reload()
    span = spans.span("30d", now=START + 5 * DAY, zone=ZoneInfo("UTC"))
    period = reads.statement(subscription=buyer.subscription, span=span).period
    assert sum(line.net for line in period.lines) == period.total
    return {line.name: line for line in period.lines}


def broken() -> dict[str, list[str]]:
    return {each.check.name: each.found.culprits for each in verification.run(verify.CHECKS) if each.is_broken}


class TestAggregations:
    """Every aggregation, from events to the line, the document, the two pages and the portal."""

    @pytest.fixture
    def prices(self, product: Product) -> dict[str, PriceVersion]:
        return {way: metered(product, way) for way in USED}

    @pytest.fixture
    def buyer(self, prices: dict[str, PriceVersion]) -> Buyer:
        buyer = subscribe(*prices.values())
        for day in range(3):
            for way, (_, quantities, _, _) in USED.items():
                quantity = quantities[day]
                record(
                    buyer,
                    (prices[way], quantity),
                    at=START + (timedelta(0) if way == "TIME_WEIGHTED_SUM" else day * DAY / 1000),
                )
        rerating.rate_due()
        return buyer

    def test_are_what_lines_are_of(self, seller: Caller, buyer: Buyer) -> None:
        for is_settled in (False, True):
            if is_settled:
                buyers.settle()
            lines = {line["metricName"]: line for line in shown(seller, buyer) if line["usage"]}
            for way, (unit, _, came_to, words) in USED.items():
                line = lines[f"{way} of {unit}"]
                assert Decimal(str(line["quantity"])) == Decimal(came_to), way
                assert Decimal(line["totalPrice"]) == Decimal(came_to) * Decimal(line["unitPrice"])
                assert line["unitPriceKind"] == "fixed"
                assert said(line) == (words or "25 requests")
        assert len(shown(seller, buyer)) == len(USED) + len(
            AFTERWARDS
        )  # those have one of what was reported, of nothing
        assert broken() == {}

    def test_are_what_the_portal_and_the_dashboard_show(self, buyer: Buyer) -> None:
        lines = portal_lines(buyer)
        page = {row.description: row for row in pages.document(invoices(buyer)[0]).lines}
        for way, (unit, _, came_to, words) in USED.items():
            name = f"{way} of {unit}"
            line = lines[name]
            assert (line.quantity, line.unit_price, line.details) == (
                Decimal(came_to), Decimal(2), (words,) if words else ()
            )  # fmt: skip
            row = page[f"For the period: {name}" if way in AFTERWARDS else name]
            assert row.quantity == Decimal(came_to)
            assert words in ["", *row.details]

    def test_are_what_documents_print(self, buyer: Buyer) -> None:
        pass_time(buyer, FEBRUARY + GRACE)
        lines = {line["name"].removeprefix("For the period: "): line for line in printed(buyer)}
        assert len(printed(buyer)) == len(USED)  # what was only reported is told by the line that counts it
        billed = {line["name"].removeprefix("For the period: "): line for line in document(buyer)["lines"]}
        for way, (unit, _, came_to, words) in USED.items():
            line = lines[f"{way} of {unit}"]
            assert (Decimal(line["quantity"]), line["price"]) == (Decimal(came_to), "$2.00")
            assert line["says"] == ([words] if words else [])
            assert einvoice._priced(billed[f"{way} of {unit}"]) == (came_to, "2", None)
        with pikepdf.open(io.BytesIO(rendering.pdf(document(buyer)))) as pdf:
            assert len(pdf.pages) >= 1
        described = [node.text for node in ET.fromstring(einvoice_of(buyer)).iter() if node.tag.endswith("Description")]
        assert {words for _, _, _, words in USED.values() if words} <= set(described)
        assert broken() == {}


def einvoice_of(buyer: Buyer) -> str:
    made = document(buyer)
    address = {"line1": "Torstr. 1", "city": "Berlin", "zipCode": "10119", "country": "DE"}
    for party in (made["seller"], made["buyer"]):
        party["address"] = address
    return einvoice.xml(made)


class TestCorrections:
    def test_move_lines_by_what_they_moved_the_figure(self, seller: Caller, product: Product) -> None:
        seats = metered(product, "MAX")
        buyer = subscribe(seats)
        record(buyer, (seats, 10))
        peak = record(buyer, (seats, 17))
        correct(buyer, peak)
        correct(buyer, record(buyer, (seats, 4)), (seats, 12))
        lines = {line["invoiceDisplayName"]: line for line in shown(seller, buyer)}
        name = "MAX of seat"
        assert [(line["quantity"], line["totalPrice"]) for line in lines.values()] == [
            (17, "34.00"), (2, "4.00"), (-7, "-14.00")
        ]  # fmt: skip
        assert list(lines) == [name, f"Corrected: {name}", f"Voided: {name}"]
        assert [said(line) for line in lines.values()] == ["Peak 12 seats after corrections", "", ""]
        row = portal_lines(buyer)[name]
        assert (row.quantity, row.details) == (12, ("Peak 12 seats",))
        assert pages.document(invoices(buyer)[0]).lines[0].details[0] == "Peak 12 seats after corrections"
        pass_time(buyer, FEBRUARY + GRACE)
        assert printed(buyer)[0]["says"] == ["Peak 12 seats after corrections"]
        assert broken() == {}

    def test_add_up_to_what_the_first_line_says_of_all(self, seller: Caller, product: Product) -> None:
        calls, seats = metered(product, "SUM"), metered(product, "MAX")
        buyer = subscribe(calls, seats)
        wrong = record(buyer, (calls, 50))
        record(buyer, (calls, 446))
        correct(buyer, wrong)
        record(buyer, (seats, 1))
        other, used, voided = shown(seller, buyer)
        assert (other["metricName"], used["metricName"]) == ("MAX of seat", voided["metricName"])
        assert [(line["quantity"], line["totalPrice"]) for line in (used, voided)] == [
            (496, "992.00"), (-50, "-100.00")
        ]  # fmt: skip
        assert (said(used), used["usage"]["quantity"]) == ("446 requests used after corrections", 446)
        row = portal_lines(buyer)["SUM of request"]
        assert (row.quantity, row.details) == (446, ())
        pass_time(buyer, FEBRUARY + GRACE)
        late = record(buyer, (calls, 5), at=START)
        correct(buyer, late, (calls, 3))
        used, *_ = shown(seller, buyer, 2)
        assert said(used) == "Use 3 requests more than billed before, all together"
        assert broken() == {}

    def test_of_refunds_leave_the_figure_and_take_their_part(self, seller: Caller, product: Product) -> None:
        seats = metered(product, "MAX")
        buyer = subscribe(seats)
        record(buyer, (seats, 10))
        refund(buyer, record(buyer, (seats, 17)))
        used, returned = shown(seller, buyer)
        assert (used["quantity"], said(used)) == (17, "Peak 17 seats")
        assert (returned["quantity"], returned["totalPrice"], returned["usage"]) == (-7, "-14.00", None)
        assert broken() == {}

    def test_that_come_late_say_by_how_much_it_is_more(self, seller: Caller, product: Product) -> None:
        seats, calls = (
            metered(product, "MAX"),
            metered(product, "SUM", properties={"unitPrice": "2", "includedUnits": "5"}),
        )
        buyer = subscribe(seats, calls)
        record(buyer, (seats, 10), (calls, 7))
        pass_time(buyer, FEBRUARY + GRACE)
        record(buyer, (seats, 11), (calls, 1), at=START)
        record(buyer, (seats, 4), at=FEBRUARY)
        lines = shown(seller, buyer, 2)
        assert {(said(line), line["quantity"], line["usage"]["isChange"]) for line in lines} == {
            ("Peak 1 seat more than billed before", 1, True), ("Peak 4 seats", 4, False), ("1 request", 1, True)
        }  # fmt: skip
        late = next(line for line in lines if line["metricUnit"] == "request")
        assert (late["usage"]["includedQuantity"], late["usage"]["chargedQuantity"]) == (None, None)
        pass_time(buyer, FEBRUARY + timedelta(days=31) + GRACE)
        assert {tuple(line["says"]) for line in printed(buyer, 1)} >= {
            ("For the period from 31 Jan 2026, 09:00", "Peak 1 seat more than billed before")
        }
        assert broken() == {}


class TestWhoBearsIt:
    def test_is_told_of_what_a_price_includes(self, seller: Caller, product: Product) -> None:
        price = metered(product, "SUM", properties={"unitPrice": "2", "includedUnits": "1000"})
        buyer = subscribe(price)
        record(buyer, (price, 1234))
        (line,) = shown(seller, buyer)
        usage = line["usage"]
        assert (usage["quantity"], usage["grantedQuantity"], usage["includedQuantity"], usage["chargedQuantity"]) == (
            1234, 0, 1000, 234
        )  # fmt: skip
        assert said(line) == "1,234 requests used: 1,000 included, 234 charged"
        assert (line["unitPriceKind"], line["priceDescription"]) == (
            "average", "1,000 requests free, then $2.00 per request"
        )  # fmt: skip
        assert portal_lines(buyer)["SUM of request"].details == (said(line),)
        pass_time(buyer, FEBRUARY + GRACE)
        (line,) = printed(buyer)
        assert (line["quantity"], line["price"], line["amount"]) == ("234", "$2.00", "$468.00")
        assert "1,234 requests used: 1,000 included, 234 charged" in line["says"]

    def test_is_not_misled_by_tiers(self, seller: Caller, product: Product) -> None:
        tiers = [{"upTo": "10", "unitPrice": "2"}, {"upTo": None, "unitPrice": "1"}]
        price = metered(product, "MAX", model="graduated", properties={"tiers": tiers})
        buyer = subscribe(price)
        record(buyer, (price, 17), (price, 3))
        (line,) = shown(seller, buyer)
        assert (line["quantity"], line["unitPriceKind"], line["totalPrice"]) == (17, "average", "27.00")
        pass_time(buyer, FEBRUARY + GRACE)
        (line,) = printed(buyer)
        assert (line["quantity"], line["price"]) == ("17", "")
        assert line["tiers"] == [["10 seats × $2.00", "$20.00"], ["7 seats × $1.00", "$7.00"]]
        assert line["says"][-1] == "Peak 17 seats"

    @pytest.mark.parametrize(("way", "reported", "words"), [
        ("SUM", [700, 534], "1,234 requests used{}: 1,000 granted, 234 charged"),
        ("COUNT", [1] * 4, "4 calls counted{}: 3 granted, 1 charged"),
    ])  # fmt: skip
    def test_is_told_of_what_grants_gave(
        self, seller: Caller, product: Product, way: str, reported: list[int], words: str
    ) -> None:
        metric = factories.metric(product=product, name="Work", unit=USED[way][0], aggregation=way)
        own: dict[str, Any] = {"merchant_id": product.merchant_id}
        feature = features.create(
            **own, product_id=product.id, key="work", name="Work", type="metered", metric_id=metric.id, now=START
        )
        template = {"type": "metered", "usagePeriod": {"interval": "P1M"}, "isSoftLimit": True}
        price = factories.price(
            metric=metric, unit_price="2", term="in_arrears", feature_id=feature.id, entitlement_template=template
        )
        buyer = subscribe(price)
        units = Decimal(1000 if way == "SUM" else 3)
        granting.create(
            **own, entitlement_id=Entitlement.objects.get().id,
            new=NewGrant(amount=units, key="given", fingerprint=b"0" * 16),
        )  # fmt: skip
        for quantity in reported:
            record(buyer, (price, quantity))
        wrong = record(buyer, (price, 5))
        correct(buyer, wrong)
        lines = shown(seller, buyer)
        corrected = words.format(" after corrections")
        assert [said(line) for line in lines] == [corrected, ""]
        assert portal_lines(buyer)["Work"].details == (words.format(""),)
        pass_time(buyer, FEBRUARY + GRACE)
        assert corrected in printed(buyer)[0]["says"]
        assert broken() == {}


class TestReductions:
    def test_name_a_percentage_by_its_coupon(self, seller: Caller, product: Product) -> None:
        seats = metered(product, "MAX")
        coupon = factories.coupon(merchant=product.merchant, code="SPRING25", percent_off=Decimal(25), name="Spring")
        buyer = subscribe(seats, subscription={"coupon_code": "SPRING25"})
        record(buyer, (seats, 4))
        for is_issued in (False, True):
            if is_issued:
                pass_time(buyer, FEBRUARY + GRACE)
            (line,) = shown(seller, buyer)
            assert line["invoiceDisplayName"] == "MAX of seat (25% off, coupon SPRING25)"
            assert line["discount"] == {
                "percentOff": 25, "isTrial": False, "description": "25% off, coupon SPRING25",
                "coupon": {"id": ids.text("cpn", coupon.id), "code": "SPRING25", "name": "Spring"},
            }  # fmt: skip
            assert (line["quantity"], line["unitPrice"], line["totalPrice"]) == (4, "2", "6.00")
        (line,) = printed(buyer)
        assert (line["name"], line["quantity"], line["price"]) == ("MAX of seat (25% off, coupon SPRING25)", "4", "")
        assert line["says"] == ["$2.00 per seat", "Peak 4 seats"]

    def test_say_that_it_is_a_free_trial(self, seller: Caller, product: Product) -> None:
        seats = metered(product, "MAX")
        buyer = subscribe(seats, subscription={"trial_ends_at": FEBRUARY})
        record(buyer, (seats, 4))
        (line,) = shown(seller, buyer)
        assert (line["invoiceDisplayName"], line["totalPrice"]) == ("MAX of seat (free trial)", "0.00")
        assert line["discount"]["isTrial"]
        assert portal_lines(buyer)["MAX of seat"].details == ("Peak 4 seats", "Free trial")

    def test_name_every_coupon_that_took_an_amount_off(self, seller: Caller, product: Product) -> None:
        seats = metered(product, "MAX")
        buyer = subscribe(seats)
        for code, dollars in (("FIVE", 5), ("TWO", 2)):
            factories.coupon(
                merchant=product.merchant, code=code, amount_off=dollars * DOLLAR, currency="USD", name=code.lower()
            )
            redemptions.redeem(merchant_id=product.merchant_id, subscription_id=buyer.subscription.id, code=code)
        record(buyer, (seats, 4))
        pass_time(buyer, FEBRUARY + GRACE)
        used, off = shown(seller, buyer)
        assert used["coupons"] == []
        assert (off["invoiceDisplayName"], off["totalPrice"], off["eventType"]) == (
            "Coupons FIVE, TWO: MAX of seat", "-7.00", "discount"
        )  # fmt: skip
        assert [(each["code"], each["totalPrice"]) for each in off["coupons"]] == [("FIVE", "-5.00"), ("TWO", "-2.00")]
        rows = pages.document(invoices(buyer)[0]).lines
        assert rows[1].details == ["five (FIVE): −$5.00", "two (TWO): −$2.00"]
        assert printed(buyer)[1]["name"] == "Coupons FIVE, TWO: MAX of seat"

    def test_keep_long_codes_within_a_line(self, product: Product) -> None:
        seats = metered(product, "MAX", display_name="S" * 200)
        buyer = subscribe(seats)
        for number in range(3):
            code = f"{number}{'X' * 63}"
            factories.coupon(merchant=product.merchant, code=code, amount_off=DOLLAR, currency="USD", name="")
            redemptions.redeem(merchant_id=product.merchant_id, subscription_id=buyer.subscription.id, code=code)
        record(buyer, (seats, 4))
        pass_time(buyer, FEBRUARY + GRACE)
        (_, off) = statements.lines_of(invoices(buyer)[0])
        assert len(off.description) == 200
        assert len(off.reduction.taken) == 3
