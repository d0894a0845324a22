"""What becomes of a command. Pure."""

from typing import NamedTuple

from charging.book import Event, Refund, Reservation
from merchants.errors import ServiceError


class Done(NamedTuple):
    """The command's effect is on the book, or was found there already."""

    answer: Event | Reservation | Refund
    replayed: bool = False


class Refused(NamedTuple):
    """The command changed nothing."""

    error: ServiceError


Outcome = Done | Refused
