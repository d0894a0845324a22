"""Read the budgets of a batch's customers, and how far those are used that its commands fall under.

A book's ``budget_version`` says whether there is anything to read: nothing while it is 0. What budgets say is kept by
version, so that the first round trip asks for tallies only; whoever has not met a customer's version yet, or learns
only from a reservation what a command falls under, asks once more.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from charging import assembly, reading
from charging.arrays import Smallints, Texts, Uuids
from charging.assembly import Books
from charging.book import Book, Budget, Tally, TallyKey, Writes
from charging.channel import Channel, Statement, Steps
from charging.commands import Command, RecordUsage, Reserve
from charging.reading import Question
from entitlements.scopes import Attributes, value_of

CUSTOMERS_MAX = 20_000
METRICS_MAX = 200_000

# LATERAL, so that no plan begins with the budgets: without statistics there seem to be hardly any in force.
_BUDGETS = Statement(
    """
SELECT uuid_send(b.customer_id), uuid_send(b.id), b.name, b.scope, b.value, uuid_send(b.product_id),
       uuid_send(b.metric_id), b.currency, b.window, b.timezone, b.limit, b.enabled AND b.enforcement = 'hard', b.since
FROM unnest(?, ?) AS wanted (bucket, customer_id)
CROSS JOIN LATERAL (
    SELECT * FROM entitlements_budget AS b
    WHERE b.bucket = wanted.bucket AND b.customer_id = wanted.customer_id AND b.archived_at IS NULL
    OFFSET 0
) AS b""",
    Smallints,
    Uuids,
)
_TALLIES = Statement(
    """
SELECT uuid_send(c.customer_id), uuid_send(c.budget_id), c.value, c.window_start, c.window_end, c.spent, c.held,
       c.crossed_at
FROM unnest(?, ?, ?) AS wanted (bucket, budget_id, value)
JOIN entitlements_budgetcounter AS c
    ON c.bucket = wanted.bucket AND c.budget_id = wanted.budget_id AND c.value = wanted.value""",
    Smallints,
    Uuids,
    Texts,
)
_PRODUCTS = Statement("SELECT id, product_id FROM metering_billablemetric WHERE id = ANY(?)", Uuids)


class Known:
    """What budgets say, by customer and version, and the product of each metric; the oldest go first."""

    def __init__(self) -> None:
        self.budgets: dict[bytes, tuple[int, tuple[Budget, ...]]] = {}
        self.products: dict[bytes, bytes] = {}

    def open(self, book: Book) -> bool:
        """Put a book's budgets into it, if they are here as they are."""
        version, budgets = self.budgets.get(book.customer_id, (0, ()))
        if version == book.budget_version:
            book.budgets = budgets
            return True
        return False

    def keep(self, book: Book, budgets: tuple[Budget, ...]) -> None:
        """Put a book's budgets into it, and remember them."""
        book.budgets = budgets
        self.budgets.pop(book.customer_id, None)
        self.budgets[book.customer_id] = (book.budget_version, budgets)
        while len(self.budgets) > CUSTOMERS_MAX:
            del self.budgets[next(iter(self.budgets))]


class Reading:
    """What one batch of commands has to know of budgets."""

    def __init__(self, known: Known, commands: Sequence[Command]) -> None:
        self._known = known
        self._commands = commands
        self._asked: set[TallyKey] = set()

    def first_questions(self, wanted: Sequence[bytes]) -> list[Question]:
        """List what to ask along with the books, of customers whose budgets were met before; often nothing."""
        if not self._known.budgets:
            return []
        met = {customer_id for customer_id in wanted if customer_id in self._known.budgets}
        keys: set[TallyKey] = set()
        for customer_id, said in self._said(met).items():
            keys.update(_keys(self._known.budgets[customer_id][1], said))
        return self._tallies(keys)

    def load(self, channel: Channel, books: Sequence[Book], writes: Writes) -> Steps[None]:
        """Put into locked books their budgets and every tally that deciding the commands will look for."""
        limited = [book for book in books if book.budget_version]
        if not limited:
            return
        if stale := [book for book in limited if not self._known.open(book)]:
            yield from self._load_budgets(channel, stale)
        limited = [book for book in limited if book.budgets]
        by_id = {book.customer_id: book for book in limited}
        refunded = [reservation_id for book in limited for reservation_id in _reservations_of_refunds(book)]
        if refunded:
            yield from _ask(channel, by_id, writes, [reading.named(refunded)])
        said = self._said(set(by_id))
        keys = {book.customer_id: _keys(book.budgets, [*said[book.customer_id], *_said_in(book)]) for book in limited}
        if missing := set().union(*keys.values()) - self._asked:
            yield from _ask(channel, by_id, writes, self._tallies(missing))
        for book in limited:
            for key in keys[book.customer_id]:
                if key not in book.tallies:
                    book.tallies[key] = Tally(*key)
        if any(budget.product_id for book in limited for budget in book.budgets):
            yield from self._load_products(channel, limited)

    def _said(self, customers: set[bytes]) -> dict[bytes, list[Attributes]]:
        """What the commands say in their metadata, by customer."""
        said: dict[bytes, list[Attributes]] = {customer_id: [] for customer_id in customers}
        for command in self._commands:
            if command.customer_id in said and isinstance(command, RecordUsage | Reserve):
                said[command.customer_id].append(command.metadata)
        return said

    def _tallies(self, keys: Iterable[TallyKey]) -> list[Question]:
        wanted = list(keys)
        if not wanted:
            return []
        self._asked.update(wanted)
        budget_ids = [budget_id for budget_id, _ in wanted]
        parameters = [Smallints([key[15] for key in budget_ids]), Uuids(budget_ids), Texts([v for _, v in wanted])]
        return [Question(_TALLIES, parameters, assembly.add_tally)]

    def _load_budgets(self, channel: Channel, stale: Sequence[Book]) -> Steps[None]:
        customers = [book.customer_id for book in stale]
        channel.say(_BUDGETS, [Smallints([key[15] for key in customers]), Uuids(customers)])
        [rows] = yield from channel.hear()
        found: dict[bytes, list[Budget]] = {}
        for customer_id, budget_id, name, scope, value, product_id, metric_id, currency, *rest in rows:
            window, timezone, limit, refuses, since = rest
            attribute = None if scope == "customer" else scope
            since = {UUID(wallet_id).bytes: seq for wallet_id, seq in since.items()}
            found.setdefault(customer_id, []).append(
                Budget(
                    budget_id,
                    name,
                    attribute,
                    value,
                    product_id,
                    metric_id,
                    currency,
                    window,
                    timezone,
                    int(limit),
                    refuses,
                    since,
                )
            )
        for book in stale:
            self._known.keep(book, tuple(found.get(book.customer_id, ())))

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


def _keys(budgets: Iterable[Budget], said: Sequence[Attributes]) -> set[TallyKey]:
    """Name the tallies that calls with these attributes fall under, and all that there is but one of."""
    keys: set[TallyKey] = set()
    for budget in budgets:
        if budget.attribute is None or budget.value is not None:
            keys.add((budget.id, ""))
        else:
            values = {value_of(budget.attribute, budget.value, attributes) for attributes in said}
            keys.update((budget.id, value) for value in values if value is not None)
    return keys


def _said_in(book: Book) -> list[Attributes]:
    """What the reservations in a book say in their metadata, and the events that are to be refunded."""
    said: list[Attributes] = [reservation.metadata for reservation in book.reservations.values()]
    return said + [book.events[event_id].metadata for event_id in book.charges_of if event_id in book.events]


def _reservations_of_refunds(book: Book) -> list[bytes]:
    """Name the reservations, not yet here, that events to be refunded drew from."""
    drawn = [book.events[event_id].reservation_id for event_id in book.charges_of if event_id in book.events]
    return [each for each in drawn if each is not None and each not in book.reservations]


def _ask(channel: Channel, books: Books, writes: Writes, questions: Sequence[Question]) -> Steps[None]:
    for question in questions:
        channel.say(question.statement, question.parameters)
    reading.fill(books, questions, (yield from channel.hear()), writes)
