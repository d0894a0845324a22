"""What a customer may use, in the words of the dashboard and the portal."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from entitlements import access
from entitlements.access import Access
from entitlements.models import Entitlement
from merchants import ids
from ui import fmt

SHOWN: Final = 50
FULL: Final = 100
NONE: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Gauge:
    """How far a period's units are used."""

    used: str
    held: str
    percent: int
    resets_at: datetime | None

    @property
    def tone(self) -> str:
        return "bad" if self.percent >= FULL else ""


@dataclass(frozen=True, slots=True)
class Row:
    """An entitlement; ``left`` and the gauge are of a metered one."""

    id: str
    name: str
    key: str
    status: str
    left: str
    gauge: Gauge | None
    beyond: str
    ends_at: datetime | None


def rows(*, merchant_id: uuid.UUID, customer_id: uuid.UUID) -> list[Row]:
    """Return what a customer is entitled to now, the newest first."""
    found = access.search(merchant_id=merchant_id, customer_id=customer_id)[0:SHOWN]
    return [row(each) for each in found if each.status == Entitlement.Status.ACTIVE]


def stamp(found: list[Row]) -> str:
    """Name the state that rows show."""
    return "".join(f".{each.id[-6:]}{each.left}{each.gauge.used}{each.gauge.held}" for each in found if each.gauge)


def row(found: Access) -> Row:
    """Return one entitlement in words."""
    entitlement, feature = found.entitlement, found.entitlement.feature
    unit = feature.metric.unit if feature.metric is not None else ""
    is_metered = found.balance is not None
    return Row(
        id=ids.text("ent", entitlement.id),
        name=feature.name,
        key=feature.key,
        status=found.status,
        left=_counted(found.balance or NONE, unit) if is_metered else "",
        gauge=_gauge(found, unit) if is_metered else None,
        beyond=("Charged" if found.is_soft else "Refused") if is_metered else "",
        ends_at=entitlement.active_to,
    )


def _gauge(found: Access, unit: str) -> Gauge:
    used, held, left = found.used or NONE, found.held or NONE, found.balance or NONE
    taken = used + held
    return Gauge(
        used=_counted(used, unit) + (f", {fmt.qty(found.overage)} beyond" if found.overage else ""),
        held=fmt.qty(held) if held else "",
        percent=int(taken * FULL // (taken + left)) if left > 0 else FULL,
        resets_at=found.end,
    )


def _counted(count: Decimal, unit: str) -> str:
    return f"{fmt.qty(count)} {fmt.units(count, unit)}"
