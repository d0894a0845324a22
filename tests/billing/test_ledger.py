"""The ledger: written once, never changed, and every balance is a sum of postings."""

import uuid
from datetime import timedelta

import psycopg
import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from billing import ledger
from billing.journal import Kind, Movement, NewEntry
from billing.ledger import EntryConflict
from billing.models import Account, Entry, Posting
from customers.models import Customer
from tests import factories, parallel
from tests.factories import NOW


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer(merchant=factories.merchant())


def entry(customer: Customer, *movements: tuple[Kind, Kind, int], key: str = "fact:1", **options) -> NewEntry:
    defaults = {"currency": "USD", "kind": "fact", "reference_id": uuid.UUID(int=1), "created_at": NOW}
    return NewEntry(
        customer_id=customer.id, key=key, movements=tuple(Movement(*each) for each in movements), **defaults | options
    )


def sale(customer: Customer, amount: int = 90, tax: int = 10, **options) -> NewEntry:
    return entry(
        customer, (Kind.CUSTOMER_CREDIT, Kind.REVENUE, amount), (Kind.CUSTOMER_CREDIT, Kind.TAX, tax), **options
    )


class TestPost:
    def test_writes_an_entry_with_its_postings(self, customer):
        assert ledger.post([sale(customer)]) == 1
        written = Entry.objects.get()
        assert (written.customer_id, written.kind, written.key, written.created_at) == (
            customer.id,
            "fact",
            "fact:1",
            NOW,
        )
        assert list(Posting.objects.order_by("position").values_list("amount", "currency", "entry_id")) == [
            (90, "USD", written.id),
            (10, "USD", written.id),
        ]

    def test_opens_each_account_once(self, customer):
        ledger.post([sale(customer), sale(customer, key="fact:2")])
        ledger.post([sale(customer, key="fact:3"), sale(customer, key="fact:4", currency="EUR")])
        opened = sorted(Account.objects.values_list("currency", "kind"))
        assert opened == [
            (currency, kind) for currency in ("EUR", "USD") for kind in ("customer_credit", "revenue", "tax")
        ]

    def test_keeps_the_balances_that_a_merchants_is_read_from(self, customer):
        paid = entry(customer, (Kind.CLEARING, Kind.CUSTOMER_CREDIT, 90), (Kind.CLEARING, Kind.PLATFORM_FEE, 10))
        sent = entry(customer, (Kind.CUSTOMER_CREDIT, Kind.IN_TRANSIT, 30), key="fact:2")
        assert (ledger.post([paid, sent]), ledger.post([paid, sent])) == (2, 0)
        ledger.post([entry(customer, (Kind.IN_TRANSIT, Kind.CLEARING, 20), key="fact:3")])
        kept = {account.kind: account.balance for account in Account.objects.all()}
        assert kept == {"clearing": -80, "in_transit": 10, "platform_fee": 10, "customer_credit": 0}
        of_kept = {kind: kept[kind] for kind in kept if kind in Account.KEPT}
        assert {kind: ledger.balance(customer.id, "USD", Kind(kind)) for kind in of_kept} == of_kept

    def test_gives_accounts_ids_that_can_be_told_beforehand(self, customer):
        expected = ledger.account_id(customer.id, "USD", Kind.TAX)
        ledger.post([sale(customer)])
        assert Account.objects.get(kind="tax").id == expected

    def test_writes_nothing_for_a_key_it_has(self, customer):
        ledger.post([sale(customer)])
        assert ledger.post([sale(customer), sale(customer, 7, key="fact:2")]) == 1
        assert ledger.balance(customer.id, "USD", Kind.REVENUE) == 97

    def test_refuses_another_fact_under_a_key_it_has(self, customer):
        ledger.post([sale(customer)])
        with pytest.raises(EntryConflict), transaction.atomic():
            ledger.post([sale(customer, 91)])
        assert ledger.balance(customer.id, "USD", Kind.REVENUE) == 90

    def test_writes_entries_of_many_customers_at_once(self, customer):
        others = [factories.customer(merchant=customer.merchant) for _ in range(20)]
        assert ledger.post([sale(each, number) for number, each in enumerate(others, start=1)]) == 20
        assert [ledger.balance(each.id, "USD", Kind.REVENUE) for each in others] == list(range(1, 21))

    def test_lets_customers_use_the_same_key(self, customer):
        other = factories.customer(merchant=customer.merchant)
        assert ledger.post([sale(customer), sale(other)]) == 2

    def test_does_not_write_an_entry_that_moves_nothing(self, customer):
        assert ledger.post([entry(customer)]) == 0
        assert not Entry.objects.exists()

    def test_writes_amounts_of_thirty_digits_exactly(self, customer):
        amount = 10**30 - 1
        ledger.post([entry(customer, (Kind.CLEARING, Kind.CUSTOMER_CREDIT, amount))])
        assert ledger.balance(customer.id, "USD", Kind.CUSTOMER_CREDIT) == amount

    def test_keeps_keys_with_quotes_and_backslashes_apart(self, customer):
        keys = ['a"b', "a\\b", "a,b", "{a}", "NULL", " a "]
        assert ledger.post([sale(customer, key=key) for key in keys]) == len(keys)
        assert set(Entry.objects.values_list("key", flat=True)) == set(keys)

    def test_refuses_an_account_whose_customer_has_no_book(self, customer):
        ghost = Customer(id=uuid.UUID(int=0))
        with pytest.raises(IntegrityError), transaction.atomic():
            ledger.post([sale(ghost)])
        assert not Posting.objects.exists()

    @pytest.mark.parametrize(
        "movement", [(Kind.TAX, Kind.REVENUE, 0), (Kind.TAX, Kind.REVENUE, -1), (Kind.TAX, Kind.TAX, 1)]
    )
    def test_is_refused_by_the_database_for_what_is_no_transfer(self, customer, movement):
        with pytest.raises(IntegrityError), transaction.atomic():
            ledger.post([entry(customer, movement)])

    @pytest.mark.django_db(transaction=True)
    def test_writes_one_entry_for_racing_posts_of_one_fact(self, customer):
        def post(number: int) -> int:
            with transaction.atomic():
                return ledger.post([sale(customer)])

        assert sum(parallel.run(6, post)) == 1
        assert Posting.objects.count() == 2


class TestTheLedger:
    """What the database itself refuses, whoever asks."""

    STATEMENTS = [
        "UPDATE billing_posting SET amount = 1",
        "DELETE FROM billing_posting",
        "TRUNCATE billing_posting",
        "UPDATE billing_entry SET kind = 'x'",
        "DELETE FROM billing_entry",
        "DELETE FROM billing_settlement",
        "DELETE FROM billing_lotdraw",
        "UPDATE billing_charge SET net = 0",
        "DELETE FROM billing_invoiceline",
        "UPDATE billing_feeoccurrence SET tax_rate = 0",
        "UPDATE billing_document SET content = '{}'",
        "DELETE FROM billing_documentfile",
        "DELETE FROM billing_logo",
    ]

    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_lets_the_app_change_nothing(self, customer, statement):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(statement)

    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_lets_its_owner_change_nothing_either(self, customer, owner_connection, statement):
        with pytest.raises(psycopg.errors.CheckViolation, match="append-only"):
            owner_connection.execute(statement)

    def test_takes_no_nan(self, customer):
        ledger.post([sale(customer)])
        insert = (
            "INSERT INTO billing_posting SELECT bucket, customer_id, entry_id, 9, debit_account_id, credit_account_id, "
            "'NaN', currency FROM billing_posting WHERE position = 0"
        )
        with pytest.raises(IntegrityError, match="posting_is_a_number"), transaction.atomic():
            connection.cursor().execute(insert)


class TestBalances:
    def test_are_credits_less_debits_by_currency_and_kind(self, customer):
        ledger.post([sale(customer), sale(customer, 5, 1, key="fact:2", currency="EUR")])
        assert ledger.balances(customer.id) == {
            ("USD", "customer_credit"): -100,
            ("USD", "revenue"): 90,
            ("USD", "tax"): 10,
            ("EUR", "customer_credit"): -6,
            ("EUR", "revenue"): 5,
            ("EUR", "tax"): 1,
        }

    def test_are_the_customers_own(self, customer):
        other = factories.customer(merchant=customer.merchant)
        ledger.post([sale(other)])
        assert ledger.balances(customer.id) == {}
        assert ledger.balance(customer.id, "USD", Kind.REVENUE) == 0


class TestStatement:
    def lines(self, customer: Customer, kind: Kind, **options) -> list[int]:
        options = {"before": NOW + timedelta(days=9), **options}
        found = ledger.statement(customer_id=customer.id, currency="USD", kind=kind, **options)
        return [line.amount for line in found]

    @pytest.fixture
    def posted(self, customer):
        ledger.post([entry(customer, (Kind.CLEARING, Kind.CUSTOMER_CREDIT, 500), key="in", created_at=NOW)])
        for day in (1, 2):
            ledger.post([sale(customer, day, key=f"out:{day}", created_at=NOW + timedelta(days=day))])
        return customer

    def test_shows_an_accounts_postings_newest_first_and_signed(self, posted):
        assert self.lines(posted, Kind.CUSTOMER_CREDIT) == [-2, -10, -1, -10, 500]
        assert self.lines(posted, Kind.REVENUE) == [2, 1]

    def test_pages_by_time(self, posted):
        assert self.lines(posted, Kind.REVENUE, limit=1) == [2]
        assert self.lines(posted, Kind.REVENUE, before=NOW + timedelta(days=2)) == [1]

    def test_names_the_entry_behind_a_line(self, posted):
        line = ledger.statement(
            customer_id=posted.id, currency="USD", kind=Kind.CLEARING, before=NOW + timedelta(days=9)
        )[0]
        assert (line.kind, line.amount, line.created_at) == ("fact", -500, NOW)
        assert Entry.objects.get(key="in").id == line.entry_id
