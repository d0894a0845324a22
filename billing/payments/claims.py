"""Having a payment or refund in hand: one at a time asks a provider, and whoever dies meanwhile is succeeded.

By the database's clock, in a transaction that is over before the provider is asked.
"""

from datetime import timedelta
from enum import Enum, auto
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now

# How long it is had; longer than a provider may take to answer the three requests that a payment may need.
LEASE = timedelta(seconds=90)
# How long an account is left alone that did not answer in all the time that there is.
REST = timedelta(seconds=30)
# Providers forget keys after a day: then the same key would charge again.
KEY_LIFE = timedelta(hours=23)

CREATED, SUBMITTING, UNKNOWN = "created", "submitting", "unknown"


class Taken(Enum):
    """What is known of what was taken in hand."""

    FIRST = auto()  # nobody has asked for it before
    AGAIN = auto()  # it may have happened


def take(place: QuerySet[Any]) -> Taken | None:
    """Take something to be asked for in hand; None where it is past that, or somebody else has it.

    Raises:
        RuntimeError: a transaction is open.
    """
    moved = {"state": SUBMITTING, "submitted_at": Coalesce(F("submitted_at"), Now()), "next_check_at": Now() + LEASE}
    with transaction.atomic(durable=True):
        if place.filter(state=CREATED).update(**moved):
            return Taken.FIRST
        if place.filter(state__in=(SUBMITTING, UNKNOWN), next_check_at__lte=Now()).update(**moved):
            return Taken.AGAIN
    return None


def take_due(place: QuerySet[Any]) -> bool:
    """Take something to be asked after in hand, if it is due; raises RuntimeError in a transaction."""
    with transaction.atomic(durable=True):
        return bool(place.filter(next_check_at__lte=Now()).update(next_check_at=Now() + LEASE))


def let_rest(*due: QuerySet[Any]) -> None:
    """Put off what would be asked for next of somebody who does not answer: others have their turn first."""
    with transaction.atomic(durable=True):
        for rows in due:
            rows.filter(next_check_at__lte=Now()).update(next_check_at=Now() + REST)


def is_key_forgotten(place: QuerySet[Any]) -> bool:
    """Tell whether something was asked for so long ago that its key may be forgotten."""
    return place.filter(submitted_at__lte=Now() - KEY_LIFE).exists()
