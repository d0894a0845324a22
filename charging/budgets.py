"""Read the budgets of a batch's customers, and how far those are used that its commands fall under.

A book's ``budget_version`` says whether there is anything to read: nothing while it is 0. What budgets say is kept by
version, so that the first round trip asks for tallies only; whoever has not met a customer's version yet, or learns
only from a reservation what a command falls under, asks once more.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from charging import assembly, reading
from charging.arrays import Smallints, Texts, Uuids
from charging.assembly import Books, instant
from charging.book import Book, Writes
from charging.channel import Channel, Statement, Steps
from charging.commands import Command, RecordUsage, Reserve
from charging.reading import Question
from charging.tallies import Budget, Mark, TallyKey
from entitlements.scopes import Attributes, value_of

CUSTOMERS_MAX = 20_000
METRICS_MAX = 200_000

# LATERAL, so that no plan begins with the budgets: without statistics there seem to be hardly any in force.
_BUDGETS = Statement(
    """
SELECT uuid_send(b.customer_id), uuid_send(b.id), b.name, b.scope, b.value, uuid_send(b.product_id),
       uuid_send(b.metric_id), b.currency, b.window, b.timezone, b.limit, b.enabled AND b.enforcement = 'hard', b.since,
       timestamptz_send(mark.window_start), timestamptz_send(mark.window_end), mark.base::text, mark.crossed_at
FROM unnest(?, ?) AS wanted (bucket, customer_id)
CROSS JOIN LATERAL (
    SELECT * FROM entitlements_budget AS b
    WHERE b.bucket = wanted.bucket AND b.customer_id = wanted.customer_id AND b.archived_at IS NULL
    OFFSET 0
) AS b
LEFT JOIN entitlements_budgetcounter AS mark
    ON mark.bucket = wanted.bucket AND mark.budget_id = b.id AND mark.value = '' AND mark.base IS NOT NULL""",
    Smallints,
    Uuids,
)
_TALLIES = Statement(
    """
SELECT uuid_send(c.customer_id), uuid_send(c.budget_id), c.value, timestamptz_send(c.window_start),
       timestamptz_send(c.window_end), c.spent::text, c.held::text, c.crossed_at
FROM unnest(?, ?, ?) AS wanted (bucket, budget_id, value)
JOIN entitlements_budgetcounter AS c
    ON c.bucket = wanted.bucket AND c.budget_id = wanted.budget_id AND c.value = wanted.value""",
    Smallints,
    Uuids,
    Texts,
)
_PRODUCTS = Statement("SELECT id, product_id FROM metering_billablemetric WHERE id = ANY(?)", Uuids)


class Limits(NamedTuple):
    """A customer's budgets in one version of theirs, and which tallies of them there are."""

    version: int
    budgets: Sequence[Budget]
    single: list[TallyKey]  # of those with one tally, which the pots do not count
    split: list[Budget]  # those with a tally for each value
    has_products: bool


class Known:
    """What budgets say, by customer and version, and the product of each metric; the oldest go first."""

    def __init__(self) -> None:
        self.limits: dict[bytes, Limits] = {}
        self.products: dict[bytes, bytes] = {}

    def keep(self, book: Book) -> Limits:
        """Remember the budgets of a book."""
        budgets = book.budgets
        single = [(budget.id, "") for budget in budgets if not budget.is_split and budget.mark is None]
        split = [budget for budget in budgets if budget.is_split]
        has_products = any(budget.product_id for budget in budgets)
        self.limits.pop(book.customer_id, None)
        kept = self.limits[book.customer_id] = Limits(book.budget_version, budgets, single, split, has_products)
        while len(self.limits) > CUSTOMERS_MAX:
            del self.limits[next(iter(self.limits))]
        return kept


class Reading:
    """What one batch of commands has to know of budgets."""

    def __init__(self, known: Known, commands: Sequence[Command]) -> None:
        self._known = known
        self._commands = commands
        self._met: dict[bytes, Limits] = {}
        self._sought: set[TallyKey] = set()

    def first_questions(self, wanted: Sequence[bytes]) -> list[Question]:
        """List what to ask along with the books, of customers whose budgets were met before; often nothing."""
        known = self._known.limits
        if known:
            self._met = {customer_id: known[customer_id] for customer_id in wanted if customer_id in known}
        return self._tallies(self._keys(self._met)) if self._met else []

    def load(self, channel: Channel, books: Sequence[Book], writes: Writes) -> Steps[None]:
        """Put into locked books their budgets and every tally that deciding the commands will look for."""
        limited: Books = {}
        stale: list[Book] = []
        has_products = False
        keys: list[TallyKey] = []
        for book in books:
            if not book.budget_version:
                continue
            limited[book.customer_id] = book
            book.tallies_sought = self._sought
            met = self._met.get(book.customer_id)
            if met is None or met.version != book.budget_version:
                stale.append(book)
                continue
            book.budgets = met.budgets
            has_products = has_products or met.has_products
        if stale:
            limits = yield from self._meet(channel, stale)
            has_products = has_products or any(each.has_products for each in limits.values())
            keys += self._keys(limits)
        if refunded := [each for book in limited.values() for each in _reservations_of_refunds(book)]:
            yield from _ask(channel, limited, writes, [reading.named(refunded)])
        for book in limited.values():
            if book.reservations or book.charges_of:
                keys += _keys_of([each for each in book.budgets if each.is_split], _said_in(book))
        if missing := [key for key in keys if key not in self._sought]:
            yield from _ask(channel, limited, writes, self._tallies(missing))
        if has_products:
            yield from self._load_products(channel, list(limited.values()))

    def _meet(self, channel: Channel, stale: Sequence[Book]) -> Steps[dict[bytes, Limits]]:
        """Read the budgets of books as they are, and put them into the books."""
        found = yield from _load_budgets(channel, stale)
        limits = {}
        for book in stale:
            book.budgets = found[book.customer_id]
            limits[book.customer_id] = self._known.keep(book)
        return limits

    def _keys(self, limits: Mapping[bytes, Limits]) -> list[TallyKey]:
        """Name every tally that customers have one of, and those that the commands name."""
        keys = [key for each in limits.values() for key in each.single]
        split = {customer_id: each.split for customer_id, each in limits.items() if each.split}
        if split:
            for command in self._commands:
                budgets = split.get(command.customer_id)
                if budgets and isinstance(command, RecordUsage | Reserve) and command.metadata:
                    keys += _keys_of(budgets, [command.metadata])
        return keys

    def _tallies(self, keys: Iterable[TallyKey]) -> list[Question]:
        wanted = set(keys)
        if not wanted:
            return []
        self._sought |= wanted
        budget_ids = [budget_id for budget_id, _ in wanted]
        parameters = [Smallints([key[15] for key in budget_ids]), Uuids(budget_ids), Texts([v for _, v in wanted])]
        return [Question(_TALLIES, parameters, assembly.add_tally)]

    def _load_products(self, channel: Channel, limited: Sequence[Book]) -> Steps[None]:
        products = self._known.products
        metrics = reading.metrics(self._commands)
        for book in limited:
            metrics.update(*(reservation.metric_ids() for reservation in book.reservations.values()))
            metrics.update(c.metric_id for charges in book.charges_of.values() for c in charges if c.metric_id)
        found = {metric_id: products[metric_id] for metric_id in metrics & products.keys()}
        if missing := metrics - found.keys():
            channel.say(_PRODUCTS, [Uuids(list(missing))])
            [rows] = yield from channel.hear()
            found.update(rows)
            products.update(rows)
        for book in limited:
            book.products = found
        while len(products) > METRICS_MAX:
            del products[next(iter(products))]


def _load_budgets(channel: Channel, stale: Sequence[Book]) -> Steps[dict[bytes, tuple[Budget, ...]]]:
    customers = [book.customer_id for book in stale]
    channel.say(_BUDGETS, [Smallints([key[15] for key in customers]), Uuids(customers)])
    [rows] = yield from channel.hear()
    found: dict[bytes, list[Budget]] = {customer_id: [] for customer_id in customers}
    for customer_id, budget_id, name, scope, value, product_id, metric_id, currency, *rest in rows:
        window, timezone, limit, refuses, since, start, end, base, crossed_at = rest
        found[customer_id].append(
            Budget(
                budget_id,
                name,
                None if scope == "customer" else scope,
                value,
                product_id,
                metric_id,
                currency,
                window,
                timezone,
                int(limit),
                refuses,
                {UUID(wallet_id).bytes: seq for wallet_id, seq in since.items()},
                None if base is None else Mark(instant(start), instant(end), int(base), crossed_at),
            )
        )
    return {customer_id: tuple(budgets) for customer_id, budgets in found.items()}


def _keys_of(split: Iterable[Budget], said: Sequence[Attributes]) -> list[TallyKey]:
    """Name the tallies of budgets for each value that calls with these attributes fall under."""
    values = [(budget.id, value_of(budget.attribute, None, attributes)) for budget in split for attributes in said]
    return [(budget_id, value) for budget_id, value in values if value is not None]


def _said_in(book: Book) -> list[Attributes]:
    """What the reservations in a book say in their metadata, and the events that are to be refunded."""
    if not book.reservations and not book.charges_of:
        return []
    said: list[Attributes] = [reservation.metadata for reservation in book.reservations.values()]
    return said + [book.events[event_id].metadata for event_id in book.charges_of if event_id in book.events]


def _reservations_of_refunds(book: Book) -> list[bytes]:
    """Name the reservations, not yet here, that events to be refunded drew from."""
    if not book.charges_of:
        return []
    drawn = [book.events[event_id].reservation_id for event_id in book.charges_of if event_id in book.events]
    return [each for each in drawn if each is not None and each not in book.reservations]


def _ask(channel: Channel, books: Books, writes: Writes, questions: Sequence[Question]) -> Steps[None]:
    for question in questions:
        channel.say(question.statement, question.parameters)
    reading.fill(books, questions, (yield from channel.hear()), writes)
