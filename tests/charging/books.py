"""Books in memory, for tests of the engine."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from billing.prices import PlanVersion, PriceVersion, Standard
from charging.book import Book, Subscription, Wallet, Writes
from charging.commands import Line, Property, RecordUsage, Reserve
from charging.tallies import Budget, Mark, Tally
from merchants import ids
from metering import periods

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
BUCKET = 7
DOLLAR = 10**9


def key(number: int, bucket: int = BUCKET) -> bytes:
    """A recognisable 16-byte id."""
    return number.to_bytes(15, "big") + bytes([bucket])


MERCHANT, CUSTOMER, PRODUCT, PLAN, PLAN_VERSION = (key(n) for n in range(1, 6))
CALLS, TOKENS, LATER, FOREIGN = (key(n) for n in range(10, 14))  # metrics; LATER is paid in arrears
PREPAID, CREDIT, SUBSCRIPTION, INVOICE, NEXT_INVOICE = (key(n) for n in range(20, 25))


class Catalogue:
    """One plan: calls at a cent, tokens at a third of a thousandth, something paid in arrears at a dollar."""

    def __init__(self, tax_rate: str = "0", behavior: Any = "exclusive") -> None:
        prices = tuple(
            PriceVersion(key(40 + n), key(50 + n), metric, None, term, Standard(Decimal(price)), None, name)
            for n, (metric, term, price, name) in enumerate(
                [
                    (CALLS, "instant", "0.01", "Calls"),
                    (TOKENS, "instant", "0.000333333", "Tokens"),
                    (LATER, "in_arrears", "1", "Seats"),
                ]
            )
        )
        plan = PlanVersion(PLAN_VERSION, PLAN, PRODUCT, "USD", "P1M", behavior, Decimal(tax_rate), prices)
        self.plans = {PLAN_VERSION: plan}
        self.metric_merchants = dict.fromkeys((CALLS, TOKENS, LATER), MERCHANT) | {FOREIGN: key(99)}


def book(*, balance: int = 100 * DOLLAR, credit_limit: int | None = None, now: datetime = NOW, **columns: Any) -> Book:
    """A customer with one active subscription and this much money."""
    made = Book(customer_id=CUSTOMER, merchant_id=MERCHANT, now=now, writes=Writes(), **columns)
    made.wallets[PREPAID] = Wallet(PREPAID, "USD", True, balance, 0, 0, None, 0, 0)
    made.wallets[CREDIT] = Wallet(CREDIT, "USD", False, 0, 0, 0, credit_limit, 0, 0)
    made.subscriptions.append(
        Subscription(
            SUBSCRIPTION,
            PLAN_VERSION,
            "active",
            "UTC",
            NOW - timedelta(days=10),
            None,
            NOW - timedelta(days=10),
            NOW + timedelta(days=20),
            INVOICE,
            NEXT_INVOICE,
            PREPAID,
            CREDIT,
            False,
        )
    )
    return made


def usage(name: str = "k", *quantities: tuple[bytes, str], at: datetime = NOW, **fields: Any) -> RecordUsage:
    """A usage event; its fingerprint is what it says."""
    properties = tuple(Property(metric, Decimal(quantity)) for metric, quantity in quantities or ((CALLS, "1"),))
    said = blake2b(repr((properties, at, fields)).encode(), digest_size=16).digest()
    return RecordUsage(ids.new_raw(BUCKET), CUSTOMER, MERCHANT, name, said, at, properties, **fields)


def reserve(
    name: str | None = None, *quantities: tuple[bytes, str], uses: int = 1, ttl: int = 60, **fields: Any
) -> Reserve:
    """A reservation of units."""
    lines = tuple(Line(metric, Decimal(quantity), None) for metric, quantity in quantities or ((CALLS, "1"),))
    said = blake2b(repr((lines, uses)).encode(), digest_size=16).digest()
    return Reserve(ids.new_raw(BUCKET), CUSTOMER, MERCHANT, name, said, lines, uses, ttl, **fields)


class Everything:
    """What was sought in a book that has all tallies there are: what is not there has not been used."""

    def __contains__(self, key: object) -> bool:
        return True


def budget(number: int = 1, *, limit: str = "1", currency: str | None = "USD", **columns: Any) -> Budget:
    """A limit in dollars a day (in units, where currency is None) of everything the customer does.

    One that the pots count for is marked in the window of NOW, before which nothing was charged.
    """
    defaults: dict[str, Any] = {
        "name": f"Budget {number}",
        "attribute": None,
        "value": None,
        "product_id": None,
        "metric_id": None,
        "window": "day",
        "timezone": "UTC",
        "refuses": True,
        "since": {},
    }
    amount = int(Decimal(limit) * DOLLAR)
    made = Budget(id=key(60 + number), limit=amount, currency=currency, **{**defaults, **columns})
    if currency is None or made.attribute or made.metric_id or made.product_id:
        return made
    return replace(made, mark=Mark(*periods.window_of(made.window, made.timezone, NOW), 0, None))


def set_now(book: Book, *budgets: Budget) -> None:
    """Set budgets for a customer who was charged before: it does not count."""
    base = sum(pot.used for pot in book.wallets.values())
    book.budgets = [
        each if each.mark is None else replace(each, mark=each.mark._replace(base=base)) for each in budgets
    ]


def tally_of(book: Book, budget_id: bytes, value: str = "") -> Tally:
    """Say how far a budget is used, by its tally or by what the pots say."""
    tally = book.tallies.get((budget_id, value)) or Tally(budget_id, value)
    mark = next(each.mark for each in book.budgets if each.id == budget_id)
    if mark is None:
        return tally
    pots = [pot for pot in book.wallets.values() if pot.currency == "USD"]
    base, held = mark.base if tally.base is None else tally.base, sum(pot.held for pot in pots)
    end = mark.end if tally.base is None else tally.end
    return replace(tally, end=end, spent=sum(pot.used for pot in pots) - base, held=held)


def written(book: Book) -> None:
    """Leave of tallies what the next reader of the book would find of them: what the engine said has changed."""
    for number, each in enumerate(book.budgets):
        tally = book.tallies.get((each.id, ""))
        if each.mark is not None and tally is not None:
            del book.tallies[(each.id, "")]
            if tally.changed:
                mark = Mark(tally.start, tally.end, tally.base or 0, tally.crossed_at)
                book.budgets = [*book.budgets[:number], replace(each, mark=mark), *book.budgets[number + 1 :]]


def limited(*budgets: Budget, **options: Any) -> Book:
    """A customer with budgets; calls and tokens are of one product, what is paid later of another."""
    made = book(**options)
    made.budgets, made.tallies_sought = budgets, Everything()
    made.products = {CALLS: PRODUCT, TOKENS: PRODUCT, LATER: key(98)}
    return made
