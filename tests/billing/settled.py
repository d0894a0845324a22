"""A buyer who uses one price, and what must be true of a wallet once everything is settled."""

from billing import ledger
from billing.models import Charge, CreditLot, Settlement, Wallet
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer

DOLLAR = 10**9


def new_buyer(term: str = "instant", unit_price: str = "0.5", **options) -> Buyer:
    metric = factories.metric(product=factories.product(merchant=factories.merchant()))
    return buyers.buyer(factories.price(metric=metric, term=term, unit_price=unit_price), **options)


def price_of(buyer: Buyer):
    return buyer.subscription.plan_version.prices.get()


def use(buyer: Buyer, *quantities: int):
    return [buyer.use(price_of(buyer), quantity) for quantity in quantities]


def ranges(wallet: Wallet) -> list[tuple[int, int, int]]:
    return list(
        Settlement.objects.filter(wallet_id=wallet.id)
        .order_by("first_seq")
        .values_list("first_seq", "last_seq", "gross")
    )


def balance(buyer: Buyer, kind: str) -> int:
    return ledger.balances(buyer.customer.id).get(("USD", kind), 0)


def assert_settled(wallet: Wallet) -> None:
    """Everything of a wallet is in the ledger, once."""
    assert (wallet.spent, wallet.settled_seq) == (0, wallet.charge_seq)
    bounds = ranges(wallet)
    assert [first for first, _, _ in bounds] == [1, *[last + 1 for _, last, _ in bounds]][: len(bounds)]
    assert (bounds[-1][1] if bounds else 0) == wallet.charge_seq
    gross = sum(Charge.objects.filter(wallet_id=wallet.id).values_list("gross", flat=True))
    assert sum(each for _, _, each in bounds) == gross
    accounts = ("customer_credit",) if wallet.kind == "prepaid" else ("unbilled", "receivable")
    balances = ledger.balances(wallet.customer_id)
    assert sum(balances.get((wallet.currency, kind), 0) for kind in accounts) == wallet.balance
    if wallet.kind == "prepaid":
        assert sum(CreditLot.objects.filter(wallet_id=wallet.id).values_list("remaining", flat=True)) == wallet.balance
