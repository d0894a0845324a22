"""The engine against a model of a wallet small enough to be believed, in every order that Hypothesis can think of."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from charging.book import Event, Reservation
from charging.commands import Extend, Refund, Release
from charging.engine import decide
from charging.outcomes import Done
from merchants import ids
from tests.charging.books import BUCKET, CALLS, CUSTOMER, MERCHANT, PREPAID, Catalogue, book, reserve, usage

CENT = 10_000_000
CATALOGUE = Catalogue()
NAMES = st.sampled_from("abcdefgh")
UNITS = st.integers(1, 60)


class Model:
    """A purse: what is in it, what is promised, and what each name was answered. A unit costs a cent; all in nanos."""

    def __init__(self, money: int) -> None:
        self.money, self.now = money, 0
        self.used: dict[str, tuple[object, int]] = {}  # name -> what was asked, what it cost
        self.holds: dict[str, list[int]] = {}  # name -> [left, uses left, ends at], while open
        self.asked: dict[str, object] = {}  # name of a hold -> what was asked
        self.refunded: set[str] = set()

    def expire(self) -> None:
        self.holds = {name: hold for name, hold in self.holds.items() if hold[2] > self.now}

    def free(self) -> int:
        self.expire()
        return self.money - sum(hold[0] for hold in self.holds.values())

    def use(self, name: str, units: int, hold: str | None, final: bool) -> str:
        self.expire()
        if name in self.used:
            return "replayed" if self.used[name][0] == (units, hold, final) else "conflict"
        cost = units * CENT
        captured = min(self.holds[hold][0], cost) if hold in self.holds else 0
        if cost - captured > self.free():
            return "funds"
        self.money -= cost
        self.used[name] = ((units, hold, final), cost)
        if hold in self.holds:
            self.holds[hold][0] -= captured
            self.holds[hold][1] -= 1
            if final or not self.holds[hold][1]:
                del self.holds[hold]
        return "done"

    def hold(self, name: str, units: int, uses: int, ttl: int) -> str:
        self.expire()
        if name in self.asked:
            return "replayed" if self.asked[name] == (units, uses) else "conflict"
        most = units * CENT + uses - 1  # each further use may round up by almost a nano
        if most > self.free():
            return "funds"
        self.asked[name] = (units, uses)
        self.holds[name] = [most, uses, self.now + ttl]
        return "done"

    def refund(self, name: str) -> str:
        if name in self.refunded:
            return "twice"
        self.refunded.add(name)
        self.money += self.used[name][1]
        return "done"


WORDS = {"IDEMPOTENCY_CONFLICT": "conflict", "INSUFFICIENT_FUNDS": "funds", "ALREADY_REFUNDED": "twice"}


class Engine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.book = book(balance=100 * CENT)
        self.model = Model(100 * CENT)
        self.began = self.book.now
        self.reservations: dict[str, Reservation] = {}

    def said(self, command: object) -> str:
        outcome = decide(self.book, command, CATALOGUE)  # type: ignore[arg-type]
        if not isinstance(outcome, Done):
            return WORDS[outcome.error.code]
        if isinstance(outcome.answer, Event):
            self.book.events[outcome.answer.id] = outcome.answer
        for charge in self.book.writes.charges:
            if charge.kind == "usage":
                self.book.charges_of[charge.source_id] = [charge]
        return "replayed" if outcome.replayed else "done"

    @rule(name=NAMES, units=UNITS)
    def uses(self, name: str, units: int) -> None:
        assert self.said(usage(name, (CALLS, str(units)))) == self.model.use(name, units, None, False)

    @precondition(lambda self: self.reservations)
    @rule(name=NAMES, units=UNITS, final=st.booleans(), data=st.data())
    def uses_a_reservation(self, name: str, units: int, final: bool, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(sorted(self.reservations)))
        command = usage(name, (CALLS, str(units)), reservation_id=self.reservations[hold].id, final=final)
        assert self.said(command) == self.model.use(name, units, hold, final)

    @rule(name=NAMES, units=UNITS, uses=st.integers(1, 3), ttl=st.integers(1, 100))
    def reserves(self, name: str, units: int, uses: int, ttl: int) -> None:
        command = reserve(name, (CALLS, str(units)), uses=uses, ttl=ttl)
        said = self.said(command)
        assert said == self.model.hold(name, units, uses, ttl)
        if said == "done":
            self.reservations[name] = self.book.reserved[name]

    @precondition(lambda self: self.reservations)
    @rule(data=st.data())
    def releases(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.reservations)))
        self.said(Release(CUSTOMER, MERCHANT, self.reservations[name].id))
        self.model.holds.pop(name, None)

    @precondition(lambda self: any(r.open and r.expires_at > self.book.now for r in self.reservations.values()))
    @rule(ttl=st.integers(1, 100), data=st.data())
    def extends(self, ttl: int, data: st.DataObject) -> None:
        alive = [n for n, r in self.reservations.items() if r.open and r.expires_at > self.book.now]
        name = data.draw(st.sampled_from(sorted(alive)))
        assert self.said(Extend(CUSTOMER, MERCHANT, self.reservations[name].id, ttl)) == "done"
        self.model.holds[name][2] = max(self.model.holds[name][2], self.model.now + ttl)

    @precondition(lambda self: self.model.used)
    @rule(data=st.data())
    def refunds(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.used)))
        command = Refund(ids.new_raw(BUCKET), CUSTOMER, MERCHANT, self.book.seen[name].id, "")
        assert self.said(command) == self.model.refund(name)

    @rule(cents=st.integers(1, 50))
    def tops_up(self, cents: int) -> None:
        self.book.wallets[PREPAID].balance += cents * CENT
        self.model.money += cents * CENT

    @rule(seconds=st.integers(1, 60))
    def waits(self, seconds: int) -> None:
        self.model.now += seconds
        self.book.now = self.began + timedelta(seconds=self.model.now)

    @rule()
    def settles(self) -> None:
        wallet = self.book.wallets[PREPAID]
        wallet.balance, wallet.spent, wallet.settled_seq = wallet.balance - wallet.spent, 0, wallet.charge_seq

    @invariant()
    def never_overspends(self) -> None:
        wallet = self.book.wallets[PREPAID]
        assert wallet.available is not None
        assert wallet.available >= 0
        assert wallet.held >= 0

    @invariant()
    def adds_up(self) -> None:
        wallet = self.book.wallets[PREPAID]
        assert wallet.balance - wallet.spent == self.model.money
        assert wallet.held == sum(r.held for r in self.reservations.values())
        for reservation in self.reservations.values():
            assert reservation.granted == reservation.captured + reservation.released + reservation.held
        unsettled = [c.gross for c in self.book.writes.charges if c.seq > wallet.settled_seq]
        assert wallet.spent == sum(unsettled)
        assert [c.seq for c in self.book.writes.charges] == list(range(1, wallet.charge_seq + 1))


Engine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestEngine = Engine.TestCase
