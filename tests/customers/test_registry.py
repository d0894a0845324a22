"""The register of customers: entered once, changed under the lock, struck off when nothing is open."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from customers import changes, registry
from customers.models import Book, Customer, CustomerClaim
from customers.registry import NewCustomer
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import Conflict, Forbidden, NotFound, ValidationFailed
from merchants.models import Merchant
from tests import factories, parallel

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)


@pytest.fixture
def merchant(db: None) -> Merchant:
    return factories.merchant()


def enter(merchant: Merchant, email: str = "ada@example.com", **new: Any) -> tuple[Customer, bool]:
    new = {"name": "Ada", **new}
    return registry.enter(merchant_id=merchant.id, new=NewCustomer(email=email, **new), now=NOW)


class TestEnter:
    def test_makes_a_customer_and_their_book_in_one_bucket(self, merchant: Merchant) -> None:
        customer, is_new = enter(merchant, tax_rates={"default": Decimal("8.8750")}, address={"country": "US"})
        assert is_new
        assert customer.bucket == customer.id.bytes[15]
        book = Book.objects.get(bucket=customer.bucket, customer_id=customer.id)
        assert book.merchant_id == merchant.id
        assert book.tax_rates == {"default": "8.875"}

    def test_finds_the_customer_of_an_address_in_any_case(self, merchant: Merchant) -> None:
        first, _ = enter(merchant, "Ada@Example.com")
        second, is_new = enter(merchant, "aDA@example.COM", name="Someone else")
        assert (second.id, is_new) == (first.id, False)
        assert second.name == "Ada"
        assert first.email == "ada@example.com"

    def test_knows_nothing_of_another_merchants_customers(self, merchant: Merchant) -> None:
        first, _ = enter(merchant)
        second, is_new = enter(factories.merchant())
        assert is_new
        assert second.id != first.id

    def test_refuses_an_external_id_of_another_customer_and_leaves_nothing_behind(self, merchant: Merchant) -> None:
        enter(merchant, external_id="A-1")
        with pytest.raises(Conflict) as refused:
            enter(merchant, "grace@example.com", external_id="A-1")
        assert refused.value.code == "EXTERNAL_ID_TAKEN"
        assert Customer.objects.count() == Book.objects.count() == 1
        assert CustomerClaim.objects.count() == 2

    def test_refuses_an_external_id_of_another_customer_also_for_one_who_exists(self, merchant: Merchant) -> None:
        enter(merchant, external_id="A-1")
        enter(merchant, "grace@example.com", external_id="A-2")
        with pytest.raises(Conflict):
            enter(merchant, "grace@example.com", external_id="A-1")

    def test_gives_one_who_exists_the_external_id_they_lacked(self, merchant: Merchant) -> None:
        first, _ = enter(merchant)
        again, is_new = enter(merchant, external_id="A-1")
        assert (again.id, again.external_id, is_new) == (first.id, "A-1", False)
        assert registry.search(merchant_id=merchant.id, external_id="A-1").get().id == first.id

    def test_leaves_the_external_id_of_one_who_has_one(self, merchant: Merchant) -> None:
        enter(merchant, external_id="A-1")
        again, _ = enter(merchant, external_id="A-2")
        assert again.external_id == "A-1"
        assert not CustomerClaim.objects.filter(value="A-2").exists()


class TestEnterInParallel:
    def test_makes_one_customer_of_eight_requests_for_one_address(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        results = parallel.run(8, lambda _: enter(merchant, external_id="A-1"))
        assert sorted(is_new for _, is_new in results) == [False] * 7 + [True]
        assert len({customer.id for customer, _ in results}) == 1
        assert (Customer.objects.count(), Book.objects.count(), CustomerClaim.objects.count()) == (1, 1, 2)

    def test_gives_an_external_id_to_one_of_eight_customers(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        results = parallel.run(8, lambda number: enter(merchant, f"buyer{number}@example.com", external_id="A-1"))
        assert len([result for result in results if isinstance(result, Conflict)]) == 7
        assert Customer.objects.get().external_id == "A-1"

    def test_survives_deletions_in_between(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        new: list[bool] = []  # also of those who are refused afterwards

        def work(number: int) -> None:
            customer, is_new = enter(merchant)
            new.append(is_new)
            if number % 2:
                registry.strike_off(merchant_id=merchant.id, customer_id=customer.id)

        results = parallel.run(8, work)
        entered = new.count(True)
        refused = [result for result in results if isinstance(result, Exception)]
        # Two may strike off the same customer, and a name may be read while it is given up: refused, never half done.
        assert {type(error).__name__ for error in refused} <= {"NotFound", "Unavailable"}
        assert Customer.objects.count() >= entered >= 1
        assert Customer.objects.filter(deleted_at=None).count() == CustomerClaim.objects.count() <= 1


class TestFind:
    def test_hides_another_merchants_customer(self, merchant: Merchant) -> None:
        theirs = factories.customer(merchant=factories.merchant())
        for stranger in (theirs.id, ids.new()):
            with pytest.raises(NotFound):
                registry.find(merchant_id=merchant.id, customer_id=stranger)


class TestEnterManaged:
    def test_knows_the_consumers_that_the_merchant_manages(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant)
        again = registry.enter_managed(merchant_id=merchant.id, consumer_id=customer.consumer_id, external_id="A-1")
        assert (again.id, again.external_id) == (customer.id, "A-1")

    def test_refuses_a_consumer_of_someone_else(self, merchant: Merchant) -> None:
        theirs = factories.customer(merchant=factories.merchant())
        for stranger in (theirs.consumer_id, ids.new()):
            with pytest.raises(Forbidden):
                registry.enter_managed(merchant_id=merchant.id, consumer_id=stranger)


class TestSearch:
    def test_finds_parts_of_names_and_addresses_in_any_case(self, merchant: Merchant) -> None:
        enter(merchant, "sales@acme.example", name="Acme GmbH")
        enter(merchant, "sales@globex.example", name="Globex")
        assert [c.name for c in registry.search(merchant_id=merchant.id, name="ACM")] == ["Acme GmbH"]
        assert [c.name for c in registry.search(merchant_id=merchant.id, email="Globex")] == ["Globex"]
        assert registry.search(merchant_id=merchant.id, email="sales@").count() == 2

    def test_takes_wildcards_for_what_they_are(self, merchant: Merchant) -> None:
        enter(merchant, name="100% pure")
        assert not registry.search(merchant_id=merchant.id, name="___").exists()
        assert registry.search(merchant_id=merchant.id, name="00%").exists()

    def test_compares_external_ids_exactly(self, merchant: Merchant) -> None:
        enter(merchant, external_id="A-1")
        assert registry.search(merchant_id=merchant.id, external_id="A-1").exists()
        assert not registry.search(merchant_id=merchant.id, external_id="a-1").exists()


class TestTaxRates:
    @pytest.fixture(autouse=True)
    def _plans_are_taxable(self, merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: set[UUID] = {ids.new()}
        monkeypatch.setattr(registry, "_taxable", {"plan": lambda merchant_id, asked: self.known & set(asked)})
        self.customer = enter(merchant)[0]

    def given(self, rates: dict[str, str]) -> dict[str, str]:
        asked = {"tax_rates": {key: Decimal(rate) for key, rate in rates.items()}}
        merchant_id = self.customer.merchant_id
        changed: Any = changes.change(
            merchant_id=merchant_id, customer_id=self.customer.id, changes=asked, actor=SYSTEM
        )
        return changed.tax_rates  # type: ignore[no-any-return]

    def test_are_kept_as_plain_decimals(self) -> None:
        (plan_id,) = self.known
        key = ids.text("plan", plan_id)
        assert self.given({"default": "13.0", key: "8.8750"}) == {"default": "13", key: "8.875"}
        assert self.given({"default": "100"}) == {"default": "100"}
        assert self.given({"default": "0"}) == {"default": "0"}

    def test_are_gone_when_none_is_left(self) -> None:
        self.given({"default": "13"})
        assert self.given({}) is None

    @pytest.mark.parametrize("rate", ["-1", "100.0001", "0.00001", "NaN", "Infinity"])
    def test_refuse_what_is_no_percentage(self, rate: str) -> None:
        with pytest.raises(ValidationFailed):
            self.given({"default": rate})

    @pytest.mark.parametrize("key", ["", "Default", "plan_", "plan_x", "cus_01h2xcejqtf2nbrexx3vqjhp41"])
    def test_refuse_keys_that_can_have_no_rate(self, key: str) -> None:
        with pytest.raises(ValidationFailed):
            self.given({key: "1"})

    def test_hide_what_is_not_the_merchants(self) -> None:
        with pytest.raises(NotFound):
            self.given({ids.text("plan", ids.new()): "1"})

    def test_are_limited_in_number(self) -> None:
        self.known = {ids.new() for _ in range(201)}
        with pytest.raises(ValidationFailed, match="at most 200"):
            self.given({ids.text("plan", key): "1" for key in self.known})


class TestStrikeOff:
    def strike_off(self, customer: Customer) -> None:
        registry.strike_off(merchant_id=customer.merchant_id, customer_id=customer.id)

    def test_hides_the_customer_and_frees_their_names(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant, external_id="A-1")
        self.strike_off(customer)
        with pytest.raises(NotFound):
            registry.find(merchant_id=merchant.id, customer_id=customer.id)
        with pytest.raises(NotFound):
            self.strike_off(customer)
        again, is_new = enter(merchant, external_id="A-1")
        assert is_new
        assert again.id != customer.id

    def test_refuses_while_something_is_open(self, merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
        customer, _ = enter(merchant)
        blocker = {"type": "subscriptions", "count": 1, "items": [{"id": "sub_1", "status": "active"}]}
        monkeypatch.setattr(registry, "_blockers", [lambda *_: None, lambda *_: blocker])
        with pytest.raises(Conflict) as refused:
            self.strike_off(customer)
        assert refused.value.details == {"blockers": [blocker]}
        assert registry.find(merchant_id=merchant.id, customer_id=customer.id).deleted_at is None
