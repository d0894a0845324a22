"""Manual lines: on open invoices only, taxed and charged like the rest, never taking an invoice below zero."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import manual_lines, statements
from billing.manual_lines import NewLine
from billing.models import Charge, ManualLine
from merchants.errors import Conflict, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed
from tests import factories, parallel
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR, FEBRUARY, GRACE, MARCH, invoices, lines, pass_time, subscribe


@pytest.fixture
def buyer(db: None) -> Buyer:
    product = factories.product(merchant=factories.merchant(fee_rate="0.1"))
    price = factories.price(metric=factories.metric(product=product), unit_price="0.5")
    made = subscribe(price, default_tax_rate=Decimal(10))
    made.use(price, 4)  # two dollars and tax, drawn from the balance
    return made


def add(buyer: Buyer, unit_price: str = "20", **options):
    named = {"subscription_id": buyer.subscription.id} if "invoice_id" not in options else {}
    new = {"name": "Setup", "currency": "USD", "quantity": Decimal(2), "unit_price": Decimal(unit_price)}
    return manual_lines.add(merchant_id=buyer.merchant.id, new=NewLine(**{**new, **named, **options}))


class TestALine:
    def test_is_charged_on_the_open_invoice_with_its_tax(self, buyer):
        line, is_new = add(buyer)
        charge = Charge.objects.get(source_id=line.id)
        assert is_new
        assert line.invoice_id == buyer.reload().invoice_id == charge.invoice_id
        assert (line.net, line.tax, line.gross) == (40 * DOLLAR, 4 * DOLLAR, 44 * DOLLAR)
        assert (charge.kind, charge.gross, charge.fee, charge.wallet_id) == (
            "manual", 44 * DOLLAR, 4 * DOLLAR, buyer.subscription.credit_wallet_id,
        )  # fmt: skip

    def test_stands_on_the_invoice_while_it_is_open_and_after(self, buyer):
        add(buyer)
        open_line = next(line for line in statements.lines_of(invoices(buyer)[0]) if line.kind == "manual")
        pass_time(buyer, FEBRUARY + GRACE)
        issued = next(line for line in lines(invoices(buyer)[0]) if line.kind == "manual")
        assert (open_line.id, open_line.description) == (issued.id, issued.description) == (issued.id, "Setup")
        assert (invoices(buyer)[0].owed_amount, invoices(buyer)[0].status) == (44 * DOLLAR, "issued")

    def test_lands_on_the_next_invoice_once_the_period_is_over(self, buyer):
        pass_time(buyer, FEBRUARY + GRACE / 2)
        line, _ = add(buyer)
        assert line.invoice_id == buyer.reload().next_invoice_id

    def test_may_be_put_on_a_named_invoice_while_it_closes(self, buyer):
        pass_time(buyer, FEBRUARY + GRACE / 2)
        first = invoices(buyer)[0]
        assert add(buyer, invoice_id=first.id)[0].invoice_id == first.id

    def test_may_wait_for_the_next_invoice(self, buyer):
        assert add(buyer, invoice_at=FEBRUARY + timedelta(days=1))[0].invoice_id == buyer.reload().next_invoice_id
        with pytest.raises(Unprocessable, match="beyond the next period"):
            add(buyer, invoice_at=MARCH + timedelta(days=1))

    @pytest.mark.parametrize("named", ["next", "issued"])
    def test_is_refused_where_the_invoice_is_not_open(self, buyer, named):
        if named == "issued":
            pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0 if named == "issued" else 1]
        with pytest.raises(Conflict, match="active or closing"):
            add(buyer, invoice_id=invoice.id)

    def test_is_refused_in_another_currency_and_for_a_stranger(self, buyer):
        with pytest.raises(Unprocessable, match="EUR"):
            add(buyer, currency="EUR")
        with pytest.raises(NotFound):
            manual_lines.add(
                merchant_id=factories.merchant().id,
                new=NewLine(
                    name="A",
                    currency="USD",
                    quantity=Decimal(1),
                    unit_price=Decimal(1),
                    subscription_id=buyer.subscription.id,
                ),
            )
        with pytest.raises(ValidationFailed, match="exactly one"):
            add(buyer, invoice_id=invoices(buyer)[0].id, subscription_id=buyer.subscription.id)
        assert not ManualLine.objects.exists()

    def test_is_refused_once_the_subscription_has_ended(self, buyer):
        buyer.terminate()
        with pytest.raises(Conflict, match="no open invoice"):
            add(buyer)


class TestACredit:
    def test_comes_off_what_is_owed(self, buyer):
        add(buyer)
        line, _ = add(buyer, "-20")
        assert Charge.objects.get(source_id=line.id).wallet_id == buyer.subscription.credit_wallet_id
        pass_time(buyer, FEBRUARY + GRACE)
        assert (invoices(buyer)[0].owed_amount, invoices(buyer)[0].paid_amount) == (0, 220 * CENT)

    def test_goes_back_to_the_balance_where_nothing_is_owed(self, buyer):
        add(buyer, "-1")
        pass_time(buyer, FEBRUARY + GRACE)
        assert (invoices(buyer)[0].grand_total, buyer.prepaid.balance) == (0, 100 * DOLLAR)

    def test_never_takes_the_invoice_below_zero(self, buyer):
        with pytest.raises(Unprocessable, match="below zero") as refused:
            add(buyer, "-1.01")
        assert refused.value.details == {"most": "2.20", "currency": "USD"}


class TestAKey:
    def test_adds_once(self, buyer):
        first, _ = add(buyer, key="a")
        again, is_new = add(buyer, key="a")
        assert (again.id, is_new, ManualLine.objects.count()) == (first.id, False, 1)
        with pytest.raises(IdempotencyConflict):
            add(buyer, "21", key="a")

    def test_adds_once_when_many_ask_at_once(self, transactional_db, buyer):
        made = parallel.run(4, lambda _: add(buyer, key="a"))
        assert [is_new for _, is_new in made].count(True) == 1 == Charge.objects.filter(kind="manual").count()
