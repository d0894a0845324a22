"""What an export of another billing system says, in words of our own. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class UnreadableExport(ValueError):
    """The file is no export of the kind that was named."""


class Unsupported(Exception):
    """One thing of an export has no equal here, for this reason."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one line of a plan costs: a metric counted, or a fee."""

    external_id: str
    name: str
    model: str
    properties: Mapping[str, Any]
    term: str
    cadence: str | None = None  # of a fee
    unit: str = "unit"
    aggregation: str = ""  # empty: it is a fee
    event_type: str = ""
    value_property: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A set of prices that is subscribed to together."""

    external_id: str
    name: str
    currency: str
    cadence: str
    prices: tuple[Price, ...]


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """Who subscribes to which plan, from when it is billed here."""

    external_id: str
    plan: str
    name: str
    starts_at: datetime | None  # None: now


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What a customer has not used of a balance; ``amount`` in nanos."""

    external_id: str
    name: str
    amount: int
    currency: str
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Customer:
    """A buyer with everything of theirs: it is entered whole, or not at all."""

    external_id: str
    name: str
    email: str
    phone: str = ""
    address: Mapping[str, str] = field(default_factory=dict)
    tax_id: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    credits: tuple[Credit, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """What is not taken over, and why."""

    kind: str
    external_id: str
    reason: str


@dataclass
class Export:
    """Everything that was read."""

    source: str
    plans: list[Plan] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def rows(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of one section: an array, or a list object with its ``data``; none where it is left out.

    Raises:
        UnreadableExport: it is neither.
    """
    section = data.get(name, [])
    if isinstance(section, dict):
        section = section.get("data", section.get(name))
    if not isinstance(section, list) or not all(isinstance(row, dict) for row in section):
        raise UnreadableExport(f"{name} is no list of objects.")
    return section
