"""What becomes of a command. Pure."""

import msgspec

from charging.book import Correction, Event, Refund, Reservation
from merchants.errors import ServiceError


class Done(msgspec.Struct, frozen=True, gc=False):
    """The command's effect is on the book, or was found there already."""

    answer: Event | Reservation | Refund | Correction
    replayed: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The command changed nothing."""

    error: ServiceError


Outcome = Done | Refused


class Lapsed(Exception):
    """A wallet of the book has credit whose time is up, and has to be brought up to date before anything is decided."""
