"""The audit log as its page lists it: what was done, by whom, from where, newest first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from merchants import ids
from merchants.models import ApiKey, AuditEntry, User
from ui.paging import PAGE_SIZE, Page

ACTIONS: Final = {
    "api_key.": "API keys",
    "member.": "Team",
    "plan.": "Plans",
    "price.": "Prices",
    "fee.": "Fees",
    "budget.": "Budgets",
    "entitlement.": "Entitlements",
    "payment_link.": "Payment links",
    "authorization.": "Authorization links",
    "customer.": "Customers",
    "invoice.": "Invoices",
    "payment.": "Payments",
    "payout": "Payouts",
    "withdrawal.": "Withdrawals",
    "billing_policy.": "Billing policy",
    "documents.": "Invoices and taxes",
    "organization.": "Organization",
}
ACTORS: Final = {"user:": "People", "key:": "API keys", "customer:": "Customers", "system": "Farthing itself"}
PERIODS: Final = {
    "30d": ("Last 30 days", timedelta(days=30)),
    "1y": ("Last year", timedelta(days=365)),
    "all": ("All time", None),
}
PERIOD_DEFAULT = "all"
OLDER, NEWER = "older", "newer"


@dataclass(frozen=True, slots=True)
class Filters:
    """What the log is narrowed to."""

    action: str = ""  # how the name of an action begins, of ACTIONS
    actor: str = ""  # how an actor's name begins, of ACTORS
    period: str = PERIOD_DEFAULT
    text: str = ""  # a target's id, a request's id or a person's e-mail address

    @property
    def is_narrow(self) -> bool:
        return bool(self.action or self.actor or self.text or self.period != PERIOD_DEFAULT)


@dataclass(frozen=True, slots=True)
class Entry:
    """One privileged change."""

    number: int
    at: datetime
    actor: str
    is_person: bool
    action: str
    target: str
    changes: dict[str, Any]
    request_id: str
    address: str


def listing(*, merchant_id: UUID, filters: Filters, cursor: str, now: datetime) -> Page[Any]:
    """Return the page of a merchant's log that the filters and the cursor ask for.

    Entries are numbered without a gap, so a cursor is a direction and a number.
    """
    direction, number = _read_cursor(cursor)
    rows = AuditEntry.objects.filter(_narrow(filters, now), merchant_id=merchant_id)
    if direction == NEWER:
        found = list(rows.filter(number__gt=number).order_by("number")[: PAGE_SIZE + 1])
    else:
        found = list((rows.filter(number__lt=number) if direction else rows).order_by("-number")[: PAGE_SIZE + 1])
    has_more = len(found) > PAGE_SIZE
    found = found[:PAGE_SIZE]
    if direction == NEWER:
        found.reverse()
    has_newer, has_older = (has_more, True) if direction == NEWER else (bool(direction), has_more)
    return Page(
        rows=described(found),
        newer=f"{NEWER}~{found[0].number}" if found and has_newer else "",
        older=f"{OLDER}~{found[-1].number}" if found and has_older else "",
    )


def _read_cursor(text: str) -> tuple[str, int]:
    """Read a cursor from a query string; anything that is not one means the first page."""
    direction, _, number = text.partition("~")
    is_sound = direction in {OLDER, NEWER} and number.isascii() and number.isdigit() and len(number) <= 18
    return (direction, int(number)) if is_sound else ("", 0)


def _narrow(filters: Filters, now: datetime) -> Q:
    wanted = Q()
    if filters.action in ACTIONS:
        wanted &= Q(action__startswith=filters.action)
    if filters.actor in ACTORS:
        wanted &= Q(actor__startswith=filters.actor)
    if length := PERIODS.get(filters.period, PERIODS[PERIOD_DEFAULT])[1]:
        wanted &= Q(at__gte=now - length)
    if text := filters.text.strip():
        person = User.objects.filter(email=text.lower()).values_list("id", flat=True).first()
        by_person = Q(actor=f"user:{ids.text('usr', person)}") if person else Q()
        wanted &= Q(target=text) | Q(request_id=text) | Q(actor=f"key:{text}") | by_person
    return wanted


def described(entries: list[AuditEntry]) -> list[Entry]:
    """Return entries as they are shown."""
    people, keys = _people(entry.actor for entry in entries), _keys(entry.actor for entry in entries)
    return [
        Entry(
            number=entry.number,
            at=entry.at,
            actor={**people, **keys, "system": "Farthing"}.get(entry.actor, _other(entry.actor)),
            is_person=entry.actor in people,
            action=entry.action.replace("api_key", "API key").replace(".", " ").replace("_", " "),
            target=entry.target,
            changes=entry.changes,
            request_id=entry.request_id,
            address=entry.address or "",
        )
        for entry in entries
    ]


def _other(actor: str) -> str:
    return "The customer" if actor.startswith("customer:") else actor


def _people(actors: Iterable[str]) -> dict[str, str]:
    wanted = _named(actors, "user:", "usr")
    return {wanted[key]: email for key, email in User.objects.filter(id__in=wanted).values_list("id", "email")}


def _keys(actors: Iterable[str]) -> dict[str, str]:
    wanted = _named(actors, "key:", "key")
    found = ApiKey.objects.filter(id__in=wanted).values_list("id", "name")
    return {wanted[key]: f"Key “{name}”" for key, name in found}


def _named(actors: Iterable[str], kind: str, prefix: str) -> dict[UUID, str]:
    """The ids behind actors of one kind."""
    found = {}
    for actor in set(actors):
        if actor.startswith(kind):
            try:
                found[ids.parse(prefix, actor.removeprefix(kind))] = actor
            except ids.InvalidId:
                continue  # it is shown as it is written
    return found
