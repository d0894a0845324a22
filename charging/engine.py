"""Decide what a command does to a customer's book: rating, balance and reservation together. Pure.

Telecoms call it online charging. There is no clock and no I/O here: ``book.now`` is the time, and what must be
written is left on the book. A refused command changes nothing.

The rules, each because it was found to go wrong otherwise:
- replay is answered before balance is checked; another payload under a used key is a conflict;
- rate the total, charge the difference: counters carry exact accumulators, so fractions neither drift nor double;
- a reservation is good for its amount, at the prices it was granted at; what a use costs beyond it comes out of
  the free balance, or the use is refused;
- a reservation that is due has stopped counting, and credit whose time is up pays for nothing, whether or not a sweep
  has been by.
"""

from charging import corrections, holds, metered, reversals, usage
from charging.book import Book, Catalogue
from charging.commands import Command, Correct, Extend, RecordUsage, Release, Reserve, Resolve
from charging.outcomes import Lapsed, Outcome, Refused
from charging.terms import nothing
from merchants.errors import ServiceError


def decide(book: Book, command: Command, catalogue: Catalogue) -> Outcome:
    """Carry out one command against a book, or say why not; raises Lapsed."""
    _bring_up_to_date(book)
    try:
        if book.closed or command.merchant_id != book.merchant_id:
            raise nothing("customerId")
        if isinstance(command, RecordUsage):
            if command.metering is not None:
                return metered.record(book, command, command.metering, catalogue)
            return usage.record(book, command, catalogue)
        if isinstance(command, Reserve):
            return holds.reserve(book, command, catalogue)
        if isinstance(command, Release):
            return holds.release(book, command)
        if isinstance(command, Resolve):
            return holds.resolve(book, command)
        if isinstance(command, Extend):
            return holds.extend(book, command)
        if isinstance(command, Correct):
            return corrections.correct(book, command, catalogue)
        return reversals.refund(book, command)
    except ServiceError as refusal:
        return Refused(refusal)


def _bring_up_to_date(book: Book) -> None:
    holds.expire_due(book)
    if book.has_lapsed:
        raise Lapsed
