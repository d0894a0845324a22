"""The short way that most events take ends where the long one does."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charging import usage
from charging.book import Book
from charging.commands import RecordUsage
from charging.engine import decide
from charging.outcomes import Done, Outcome
from tests.charging.books import CALLS, CREDIT, DOLLAR, LATER, NOW, PREPAID, TOKENS, Catalogue, budget, limited
from tests.charging.books import usage as event

QUANTITIES = ("1", "3", "0.5", "0.000000001", "250", "99999999999999")
EVENTS = st.lists(st.tuples(st.sampled_from([CALLS, TOKENS, LATER]), st.sampled_from(QUANTITIES)), max_size=6)


def customer(fee_rate: str = "0") -> Book:
    """Someone with three dollars, a limit of two on credit, and two budgets."""
    budgets = budget(1, limit="2"), budget(2, limit="500", currency=None)
    return limited(*budgets, balance=3 * DOLLAR, credit_limit=2 * DOLLAR, fee_rate=Decimal(fee_rate))


def become(book: Book, catalogue: Catalogue, commands: Sequence[RecordUsage]) -> dict[str, Any]:
    """What is answered, and what the book then holds."""
    said = [_said(decide(book, command, catalogue)) for command in commands]
    return {
        "said": said,
        "wallets": [book.wallets[PREPAID], book.wallets[CREDIT]],
        "counters": book.counters,
        "tallies": {key: tally for key, tally in book.tallies.items() if tally.changed},
        "events": book.writes.events,
        "charges": book.writes.charges,
        "unsettled": book.writes.unsettled,
    }


def _said(outcome: Outcome) -> Any:
    if isinstance(outcome, Done):
        return msgspec.structs.asdict(outcome.answer)
    return outcome.error.code, outcome.error.message, outcome.error.details


class TestTheShortWay:
    @pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
    @pytest.mark.parametrize(("tax_rate", "fee_rate"), [("0", "0"), ("19", "0"), ("0", "0.029"), ("7.7", "0.05")])
    @given(events=EVENTS)
    @settings(max_examples=25, deadline=None)
    def test_ends_where_the_long_one_does(
        self, events: list[tuple[bytes, str]], behavior: str, tax_rate: str, fee_rate: str
    ) -> None:
        catalogue = Catalogue(tax_rate, behavior)
        commands = [event(str(number), each) for number, each in enumerate(events)]
        short = become(customer(fee_rate), catalogue, commands)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(usage, "_is_plain", lambda *_: False)
            assert become(customer(fee_rate), catalogue, commands) == short

    def test_is_refused_like_the_long_one_where_the_metric_is_unknown(self) -> None:
        catalogue, command = Catalogue(), event("k", (b"x" * 16, "1"), at=NOW)
        short = become(customer(), catalogue, [command])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(usage, "_is_plain", lambda *_: False)
            assert become(customer(), catalogue, [command]) == short
