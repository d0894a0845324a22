"""What is known of a customer, changed: under the lock, audited, told, and never two of one name."""

from decimal import Decimal
from typing import Any

import pytest

from customers import changes, notices
from customers.models import Customer, CustomerClaim
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound
from merchants.models import AuditEntry, Merchant
from tests import factories, parallel
from tests.customers.test_registry import enter, merchant
from tests.scenarios.test_told import told

__all__ = ["merchant"]  # a fixture
ACTOR = Actor("user:usr_1")
PARIS = {"line1": "1 rue de la Paix", "city": "Paris", "zipCode": "75002", "country": "FR"}


def change(customer: Customer, **asked: Any) -> Customer:
    return changes.change(merchant_id=customer.merchant_id, customer_id=customer.id, changes=asked, actor=ACTOR)


class TestChange:
    def test_changes_only_what_is_given(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant, external_id="A-1", tax_id="GB1", tax_rates={"default": Decimal(5)})
        change(customer, notification_settings={"invoicePaid": False})
        changed = change(customer, tax_id="GB2", notification_settings={"invoiceIssued": False})
        assert (changed.tax_id, changed.external_id) == ("GB2", "A-1")
        assert changed.notification_settings == {"invoicePaid": False, "invoiceIssued": False}
        assert changed.tax_rates == {"default": "5"}
        assert changed.updated_at > customer.updated_at

    def test_frees_an_external_id_that_is_cleared(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant, external_id="A-1")
        assert change(customer, external_id=None).external_id is None
        assert enter(merchant, "grace@example.com", external_id="A-1")[1]

    def test_refuses_an_external_id_of_another_customer(self, merchant: Merchant) -> None:
        enter(merchant, external_id="A-1")
        other, _ = enter(merchant, "grace@example.com", external_id="A-2")
        with pytest.raises(Conflict):
            change(other, external_id="A-1", tax_id="GB2")
        other.refresh_from_db()
        assert (other.external_id, other.tax_id) == ("A-2", "")

    def test_lets_two_customers_swap_at_once_and_gives_each_name_to_one(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        both = [enter(merchant, f"b{number}@example.com", external_id=f"A-{number}")[0] for number in range(2)]
        results = parallel.run(2, lambda number: change(both[number], external_id=f"A-{1 - number}"))
        assert all(isinstance(result, Conflict) for result in results)
        assert set(Customer.objects.values_list("external_id", flat=True)) == {"A-0", "A-1"}

    def test_writes_down_who_changed_what_and_tells_it(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant, phone="1")
        change(customer, name="Ada & Co", address=PARIS, tax_id="FR40303265045", phone="1")
        entry = AuditEntry.objects.get(merchant=merchant, action="customer.changed")
        assert (entry.actor, set(entry.changes)) == (ACTOR.name, {"name", "address", "tax_id"})
        assert entry.changes["address"] == {"before": {}, "after": PARIS}
        [data] = told("customer.updated.v0")
        assert (data["name"], data["address"], data["taxId"]) == ("Ada & Co", PARIS, "FR40303265045")

    def test_does_nothing_where_nothing_changes(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant, phone="1")
        same = change(
            customer, name="Ada", email="ADA@example.com", phone="1", notification_settings={"lowBalance": True}
        )
        assert same.updated_at == customer.updated_at
        assert not told("customer.updated.v0")
        assert not AuditEntry.objects.filter(action="customer.changed").exists()

    def test_moves_the_claim_of_an_email_address(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant)
        assert change(customer, email="Grace@Example.com").email == "grace@example.com"
        assert enter(merchant, "grace@example.com") == (customer, False)
        other, is_new = enter(merchant)
        assert is_new
        with pytest.raises(Conflict) as refused:
            change(other, email="grace@example.com", name="X")
        assert refused.value.code == "EMAIL_TAKEN"
        other.refresh_from_db()
        assert (other.email, other.name) == ("ada@example.com", "Ada")
        assert CustomerClaim.objects.filter(merchant=merchant).count() == 2

    def test_gives_one_address_to_one_of_eight(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        all_eight = [enter(merchant, f"b{number}@example.com")[0] for number in range(8)]
        results = parallel.run(8, lambda number: change(all_eight[number], email="one@example.com"))
        assert sum(isinstance(result, Conflict) for result in results) == 7
        assert Customer.objects.filter(email="one@example.com").count() == 1
        assert CustomerClaim.objects.filter(merchant=merchant).count() == 8

    def test_changes_one_rate_and_leaves_the_others(self, merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
        customer, _ = enter(merchant, tax_rates={"default": Decimal(5)})
        assert change(customer, default_rate=Decimal(0)).tax_rates == {"default": "0"}
        assert change(customer, default_rate=None).tax_rates is None

    def test_keeps_what_the_customer_stopped(self, merchant: Merchant) -> None:
        customer, _ = enter(merchant)
        token = notices.unsubscribe_url(customer.id, "lowBalance").rpartition("/")[2]
        notices.unsubscribe(token, customer.created_at)
        change(customer, name="Ada & Co")
        customer.refresh_from_db()
        assert customer.notification_settings == {"lowBalance": False}

    def test_hides_another_merchants_customer(self, merchant: Merchant) -> None:
        theirs, _ = enter(factories.merchant())
        with pytest.raises(NotFound):
            changes.change(merchant_id=merchant.id, customer_id=theirs.id, changes={"name": "X"}, actor=ACTOR)
