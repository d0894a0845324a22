"""The chart of accounts: what each kind of entry moves, and which way."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from billing import journal
from billing.journal import Earned, Kind, Movement, NewEntry
from billing.models import Invoice, TopUp
from tests.factories import NOW

CUSTOMER = uuid.UUID(int=7)
WALLET = uuid.UUID(int=8)
amounts = st.integers(-(10**30), 10**30)
earned = st.builds(Earned, amounts, amounts, amounts)


NOTHING = Earned(0, 0, 0)


def settled(wallet_kind: str, charged: Earned, returned: Earned = NOTHING) -> NewEntry:
    return journal.usage_settled(
        customer_id=CUSTOMER,
        currency="USD",
        wallet_id=WALLET,
        wallet_kind=wallet_kind,
        first_seq=5,
        settlement_id=uuid.UUID(int=9),
        charged=charged,
        returned=returned,
        now=NOW,
    )


def balance(entry: NewEntry, *kinds: Kind) -> int:
    """What an entry adds to some accounts together: credits less debits."""
    credits = sum(amount for _, credit, amount in entry.movements if credit in kinds)
    return credits - sum(amount for debit, _, amount in entry.movements if debit in kinds)


class TestTopUpReceived:
    def test_moves_money_from_clearing_to_the_customers_credit(self):
        top_up = TopUp(id=uuid.UUID(int=3), customer_id=CUSTOMER, amount=500, currency="EUR")
        entry = journal.top_up_received(top_up=top_up, now=NOW)
        assert entry.movements == (Movement(Kind.CLEARING, Kind.CUSTOMER_CREDIT, 500),)
        assert (entry.currency, entry.reference_id, entry.customer_id) == ("EUR", top_up.id, CUSTOMER)

    def test_is_named_by_its_top_up(self):
        keys = {journal.top_up_received(top_up=TopUp(id=uuid.UUID(int=n), amount=1), now=NOW).key for n in (1, 1, 2)}
        assert len(keys) == 2


class TestUsageSettled:
    def test_shares_prepaid_use_out_between_merchant_platform_and_tax(self):
        assert settled("prepaid", Earned(90, 10, 20)).movements == (
            Movement(Kind.CUSTOMER_CREDIT, Kind.REVENUE, 90),
            Movement(Kind.CUSTOMER_CREDIT, Kind.PLATFORM_FEE, 10),
            Movement(Kind.CUSTOMER_CREDIT, Kind.TAX, 20),
        )

    def test_takes_use_on_credit_from_unbilled(self):
        assert settled("credit", Earned(90, 0, 0)).movements == (Movement(Kind.UNBILLED, Kind.REVENUE, 90),)

    def test_posts_returns_apart_from_charges_and_the_other_way_round(self):
        entry = settled("prepaid", Earned(90, 0, 0), Earned(-30, 0, -6))
        assert entry.movements == (
            Movement(Kind.CUSTOMER_CREDIT, Kind.REVENUE, 90),
            Movement(Kind.REVENUE, Kind.CUSTOMER_CREDIT, 30),
            Movement(Kind.TAX, Kind.CUSTOMER_CREDIT, 6),
        )

    def test_moves_nothing_for_charges_of_nothing(self):
        assert settled("prepaid", Earned(0, 0, 0)).movements == ()

    def test_is_named_by_the_wallet_and_where_its_range_begins(self):
        assert settled("prepaid", Earned(1, 0, 0)).key == f"settlement:{WALLET.hex}:5"

    @given(st.sampled_from(["prepaid", "credit"]), earned, earned)
    def test_takes_from_the_pot_exactly_what_everybody_else_gets(self, kind, charged, returned):
        entry = settled(kind, charged, returned)
        assert all(movement.amount > 0 for movement in entry.movements)
        assert balance(entry, journal.POT[kind]) == -(charged.gross + returned.gross)
        assert balance(entry, Kind.REVENUE) == charged.revenue + returned.revenue
        assert balance(entry, Kind.PLATFORM_FEE) == charged.platform_fee + returned.platform_fee
        assert balance(entry, Kind.TAX) == charged.tax + returned.tax


class TestInvoiceIssued:
    def issued(self, owed: int, rounding: int) -> NewEntry:
        invoice = Invoice(id=uuid.UUID(int=4), customer_id=CUSTOMER, currency="USD")
        return journal.invoice_issued(invoice=invoice, owed=owed, rounding=rounding, now=NOW)

    def test_turns_what_was_used_on_credit_into_a_receivable(self):
        assert self.issued(700, 0).movements == (Movement(Kind.RECEIVABLE, Kind.UNBILLED, 700),)

    def test_books_what_whole_cents_add(self):
        assert self.issued(7, 3).movements[1] == Movement(Kind.RECEIVABLE, Kind.ROUNDING, 3)

    def test_books_what_whole_cents_take_away(self):
        assert self.issued(13, -3).movements[1] == Movement(Kind.ROUNDING, Kind.RECEIVABLE, 3)

    @given(amounts, amounts)
    def test_changes_what_the_customer_owes_by_the_rounding_only(self, owed, rounding):
        entry = self.issued(owed, rounding)
        assert balance(entry, *journal.WALLET_ACCOUNTS["credit"]) == -rounding
        assert balance(entry, Kind.RECEIVABLE) == -(owed + rounding)
