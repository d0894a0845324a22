"""The test provider's own life: time passes, its payers visit its pages, and its webhooks go out."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from billing import money
from billing.models import SimulatedDelivery, SimulatedObject
from billing.payments import cards, simulator
from billing.payments.provider import State
from merchants import ids
from merchants.errors import Conflict, NotFound, ValidationFailed

AT_ONCE = 50
SEND_SECONDS_MAX = 5.0
TRIES_MAX = 8
RETRY_AFTER = timedelta(seconds=5)

Post = Callable[[str, bytes, Mapping[str, str]], int]


def run_due(*, now: datetime, is_time_up: Callable[[], bool]) -> int:
    """Move on what is due at the test provider, and send what it has to tell; return how much happened."""
    return advance_due(is_time_up=is_time_up) + send_due(now=now, is_time_up=is_time_up, post=_post)


def advance_due(*, is_time_up: Callable[[], bool]) -> int:
    """Move payments and disputes on whose time has come."""
    done = 0
    due = SimulatedObject.objects.filter(due_at__lte=Now()).order_by("due_at")
    for merchant_id, ref in list(due.values_list("merchant_id", "ref")[:AT_ONCE]):
        if is_time_up():
            break
        with transaction.atomic():
            simulator.lock(merchant_id, ref)
        done += 1
    return done


def send_due(*, now: datetime, is_time_up: Callable[[], bool], post: Post) -> int:
    """Send the webhooks that are due, each as often as its card says; one that is not taken is sent again."""
    done = 0
    for delivery in list(SimulatedDelivery.objects.filter(send_at__lte=Now()).order_by("send_at")[:AT_ONCE]):
        if is_time_up():
            break
        if _claim(delivery):
            done += 1
            taken = [_is_taken(delivery, now, post) for _ in range(delivery.copies)]
            if all(taken):
                _place(delivery).update(send_at=None)
    return done


def _claim(delivery: SimulatedDelivery) -> bool:
    """Take a delivery in hand: it is due again later, unless it was tried often enough."""
    is_last = delivery.tries + 1 >= TRIES_MAX
    again = None if is_last else Now() + RETRY_AFTER * 2**delivery.tries
    return bool(_place(delivery).filter(tries=delivery.tries).update(tries=delivery.tries + 1, send_at=again))


def _place(delivery: SimulatedDelivery) -> QuerySet[SimulatedDelivery]:
    return SimulatedDelivery.objects.filter(merchant_id=delivery.merchant_id, id=delivery.id)


def _is_taken(delivery: SimulatedDelivery, now: datetime, post: Post) -> bool:
    raw = delivery.body.encode()
    url = f"{settings.PUBLIC_URL}/webhooks/in/test/{ids.text('org', delivery.merchant_id)}"
    headers = {"Content-Type": "application/json", **simulator.sign(delivery.merchant_id, raw, now)}
    return 200 <= post(url, raw, headers) < 300


def _post(url: str, raw: bytes, headers: Mapping[str, str]) -> int:
    """Send to ourselves, at the address we are known by; returns the status, 0 where there is no answer."""
    try:
        return httpx.post(url, content=raw, headers=dict(headers), timeout=SEND_SECONDS_MAX).status_code
    except httpx.HTTPError:
        return 0


# --- its hosted page -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the hosted page shows: its step is card, confirm or done."""

    merchant: str
    amount: int  # nanos
    currency: str
    is_setup: bool
    step: str
    icon: str
    says: str
    return_url: str


_ENDS = {
    State.SUCCEEDED: ("circle-check", "Done"),
    State.PROCESSING: ("loader-circle", "It is being processed"),
    State.DECLINED: ("circle-off", "The card was declined"),
    State.CANCELLED: ("circle-off", "This page has run out of time"),
}


def page(*, merchant_id: uuid.UUID, ref: str, secret: str) -> Page:
    """Say what a hosted page shows; raises NotFound."""
    made = look(merchant_id=merchant_id, ref=ref, secret=secret)
    waits = made.state == State.REQUIRES_ACTION
    icon, says = _ENDS.get(State(made.state), ("", ""))
    return Page(
        merchant=made.merchant.organization.name,
        amount=money.from_minor(made.amount, made.currency),
        currency=made.currency,
        is_setup=made.kind == SimulatedObject.Kind.SETUP,
        step="done" if not waits else "confirm" if made.card else "card",
        icon=icon,
        says=says,
        return_url=made.return_url,
    )


def look(*, merchant_id: uuid.UUID, ref: str, secret: str) -> SimulatedObject:
    """Return the payment or setup that a page is for; raises NotFound."""
    made = SimulatedObject.objects.filter(merchant_id=merchant_id, ref=ref, page_secret=secret).first()
    if made is None or not secret:
        raise NotFound()
    return made


def pay(*, merchant_id: uuid.UUID, ref: str, secret: str, number: str) -> SimulatedObject:
    """Pay with a test card, or save it.

    Raises:
        NotFound: there is no such page.
        Conflict: it was used, or has run out of time.
        ValidationFailed: the number is no test card's.
    """
    card = cards.BY_NUMBER.get("".join(number.split()))
    if card is None:
        raise ValidationFailed("This is not one of the test cards.", field="number", code="INVALID_CARD")
    with transaction.atomic():
        made = _lock(merchant_id, ref, secret)
        if made.card:
            raise Conflict("A card was entered before.", code="ALREADY_PAID")
        simulator.charge_card(made, card)
    return made


def confirm(*, merchant_id: uuid.UUID, ref: str, secret: str, is_approved: bool) -> SimulatedObject:
    """Confirm a payment as the card's owner, or refuse it; raises NotFound or Conflict."""
    with transaction.atomic():
        made = _lock(merchant_id, ref, secret)
        if not made.card:
            raise Conflict("No card was entered yet.", code="NO_CARD")
        simulator.confirm(made, is_approved=is_approved)
    return made


def _lock(merchant_id: uuid.UUID, ref: str, secret: str) -> SimulatedObject:
    look(merchant_id=merchant_id, ref=ref, secret=secret)
    made = simulator.lock(merchant_id, ref)
    if made.state != State.REQUIRES_ACTION:
        raise Conflict("This page was used, or has run out of time.", code="ALREADY_PAID")
    return made
