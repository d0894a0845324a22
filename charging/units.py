"""What grants cover of a command's use, and what reservations hold of them. Pure.

``entitlements.burning`` has the rules. Here a command works on copies, and puts them into the book once it is let
through: a refused one changes nothing. What is covered is not rated: the counters of the price never see it.

A reservation sets units aside as it does money, and its use takes them first; it is good for them also when the time
of its entitlement is up since, or another has taken its place. Where the metric counts events, each is one unit,
whatever its quantity.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from charging.book import Book, Entitlement, Movement, Reservation
from entitlements import burning
from entitlements.burning import Draws, Held
from merchants import ids
from merchants.errors import EntitlementExhausted
from metering.aggregation import Aggregation

_ONE = Decimal(1)


class _Moved(NamedTuple):
    """A movement that was carried out, to be written down."""

    entitlement: Entitlement
    kind: str
    position: int
    units: Decimal
    draws: Draws
    period_start: datetime


class Draft:
    """The metered entitlements of a book as a command would leave them."""

    def __init__(self, book: Book, reservation: Reservation | None = None) -> None:
        self._book = book
        self._reservation = reservation
        self._held: list[Held] = []
        if reservation is not None and reservation.open and reservation.units is not None:
            self._held = burning.decode_held(reservation.units)
        self._copies: dict[bytes, Entitlement] = {}  # by id
        self._moved: list[_Moved] = []

    def use(
        self,
        metric_id: bytes,
        quantity: Decimal,
        at: datetime,
        position: int,
        aggregation: Aggregation,
        *,
        refuses: bool = True,
    ) -> Decimal | None:
        """Return how much of a use is covered; None where there is no entitlement to the metric.

        Raises:
            EntitlementExhausted: the limit is hard, and it is not all of it; not where nothing ``refuses``.
        """
        held = next((each for each in self._held if each.metric_id == metric_id.hex()), None)
        entitlement = self._copy_of(metric_id, None if held is not None else at)
        if entitlement is None:
            return None
        if not quantity:
            return quantity  # there is nothing to draw, nor to move
        allowance, units = entitlement.allowance, _ONE if aggregation == "COUNT" else quantity
        now = entitlement.until(self._book.now)
        draws, short = burning.use(allowance, units, at, now, held.hold if held is not None else None)
        limits = refuses and not allowance.terms.is_soft and allowance.terms.in_force(at)
        if short and limits:
            raise _exhausted(entitlement, units, short, f"properties.{position}")
        start = burning.period_start(allowance, at)
        self._moved.append(_Moved(entitlement, "used", position, units, draws, start))
        if aggregation == "COUNT":  # of whole grants, so that one event is covered or not
            return Decimal(0) if short else quantity
        return quantity - short

    def take_back(self, source_id: bytes, position: int) -> None:
        """Give back what an event, or its last correction, took for one of its properties."""
        for moved in self._book.movements.get(source_id, ()):
            if moved.position == position and (entitlement := self._copy_by_id(moved.entitlement_id)) is not None:
                burning.take_back(entitlement.allowance, moved.units, moved.draws, moved.period_start)
                self._moved.append(
                    _Moved(entitlement, "returned", position, moved.units, moved.draws, moved.period_start)
                )
                self._restore(entitlement, moved.draws, position)

    def _restore(self, was: Entitlement, draws: Draws, position: int) -> None:
        """Give back to grants that were carried over to another entitlement what the one before it had given."""
        carried = [(grant_id, units) for grant_id, units in draws if grant_id in was.allowance.carried]
        now = self._copy_of(was.metric_id, None) if carried else None
        if now is None:
            return
        there = {pool.grant_id for pool in now.allowance.pools}
        back, start = [(grant_id, units) for grant_id, units in carried if grant_id in there], now.allowance.start
        if back:
            burning.give_back(now.allowance, back, start)
            self._moved.append(_Moved(now, "restored", position, burning.total(back), back, start))

    def hold(
        self, metric_id: bytes, quantity: Decimal, uses: int, position: int, aggregation: Aggregation
    ) -> tuple[Decimal, int]:
        """Set units aside for a line; returns the quantity, and in how many uses, that money must be held for.

        Raises:
            EntitlementExhausted: the limit is hard, and there are not as many.
        """
        entitlement = self._copy_of(metric_id, self._book.now)
        units = quantity
        if aggregation == "COUNT":  # as many as rating.ceiling counts
            units = max(Decimal(uses), quantity.to_integral_value("ROUND_CEILING"))
        if entitlement is None or not quantity:
            return quantity, uses
        hold, short = burning.hold(entitlement.allowance, units, self._book.now)
        if short and not entitlement.allowance.terms.is_soft:
            raise _exhausted(entitlement, units, short, f"entitlementData.{position}")
        if hold.draws:
            # Two lines of one metric are one hold: which of them a use is of does not show.
            mine = next((each for each in self._held if each.metric_id == metric_id.hex()), None)
            if mine is None:
                self._held.append(Held(entitlement.id.hex(), metric_id.hex(), replace(hold, draws=[*hold.draws])))
            else:
                mine.hold.draws += hold.draws
            self._moved.append(_Moved(entitlement, "held", position, units, hold.draws, hold.start))
        return short, int(short) if aggregation == "COUNT" else uses

    def carry_out(self, source_id: bytes, reservation: Reservation | None = None) -> None:
        """Put everything into the book; what is held is noted on the reservation it was made for or used from."""
        for moved in self._moved:
            _write(self._book, moved, source_id)
        mine = {entitlement.id: entitlement for entitlement in self._copies.values() if entitlement.changed}
        self._book.entitlements = [mine.get(each.id, each) for each in self._book.entitlements]
        self._book.retired = [mine.get(each.id, each) for each in self._book.retired]
        reservation = reservation or self._reservation
        if reservation is not None and self._held:
            reservation.units = burning.encode_held(self._held).decode()
            reservation.units_changed = True

    def _copy_by_id(self, entitlement_id: bytes) -> Entitlement | None:
        """The entitlement as it is left so far, also one that is not in force any more."""
        for each in (*self._book.entitlements, *self._book.retired):
            if each.id == entitlement_id:
                return self._copy(each)
        return None

    def _copy_of(self, metric_id: bytes, at: datetime | None) -> Entitlement | None:
        """The entitlement to a metric, brought to the present; one that is not in force at an instant is none.

        What has ended counts for what was used while it was in force.
        """
        for each in self._book.entitlements:
            if each.metric_id == metric_id and (at is None or each.allowance.terms.in_force(at)):
                return self._copy(each)
        for each in self._book.retired:
            was_in_force = at is not None and each.allowance.terms.in_force(at) and each.until(at) == at
            if each.metric_id == metric_id and was_in_force:
                return self._copy(each)
        return None

    def _copy(self, entitlement: Entitlement) -> Entitlement:
        copy = self._copies.get(entitlement.id)
        if copy is None:
            copy = self._copies[entitlement.id] = replace(entitlement, allowance=entitlement.allowance.copy())
            burning.roll(copy.allowance, copy.until(self._book.now))
        return copy


def draft_of(book: Book, reservation: Reservation | None = None) -> Draft | None:
    """Begin a draft; None where the customer has no metered entitlement."""
    return Draft(book, reservation) if book.entitlements or book.retired else None


def give_back(book: Book, reservation: Reservation) -> None:
    """Return what a reservation still holds, before it is closed; of an entitlement that has ended it is lost."""
    for held in burning.decode_held(reservation.units or "[]"):
        for entitlement in book.entitlements:
            if entitlement.id.hex() == held.entitlement_id and held.hold.draws:
                burning.roll(entitlement.allowance, book.now)
                burning.free(entitlement.allowance, held.hold)
                units = burning.total(held.hold.draws)
                moved = _Moved(entitlement, "freed", 0, units, held.hold.draws, held.hold.start)
                _write(book, moved, reservation.id)
    reservation.units = None
    reservation.units_changed = True


def _write(book: Book, moved: _Moved, source_id: bytes) -> None:
    """Number a movement that was carried out, and write it down."""
    entitlement, kind, position, units, draws, start = moved
    entitlement.seq += 1
    entitlement.changed = True
    key, seq = entitlement.id, entitlement.seq
    made = Movement(book.customer_id, key, seq, kind, source_id, position, units, draws, start, book.now)
    book.writes.movements.append(made)
    if kind == "used":
        book.movements.setdefault(source_id, []).append(made)


def _exhausted(entitlement: Entitlement, units: Decimal, short: Decimal, field: str) -> EntitlementExhausted:
    return EntitlementExhausted(
        f"What is left of {entitlement.feature_key} does not cover this.",
        details={
            "field": field,
            "featureKey": entitlement.feature_key,
            "entitlementId": ids.text("ent", entitlement.id),
            "billableMetricId": ids.text("bm", entitlement.metric_id),
            "balance": format((units - short).normalize(), "f"),
            "required": format(units.normalize(), "f"),
            "resetsAt": entitlement.allowance.end.isoformat().replace("+00:00", "Z"),
        },
    )
