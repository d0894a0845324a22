"""What an entitlement may be told to allow: templates, in the contract's words. Pure.

Numbers are kept as integers or decimal strings. One that is left out means nothing: no grant of its own, nothing that
rolls over.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from entitlements.burning import Terms
from merchants import fields
from merchants.errors import ValidationFailed
from metering import periods
from metering.aggregation import Aggregation

CONFIG_BYTES_MAX = 8 * 1024
PRIORITY_DEFAULT = 1
PRIORITY_MAX = 255

_FLAGS = ("isSoftLimit", "preserveOverageAtReset")
_UNITS = ("issueAfterReset", "resetMaxRollover", "resetMinRollover")
_METERED = {"type", "usagePeriod", "issueAfterResetPriority", *_FLAGS, *_UNITS}
_KNOWN = {"boolean": {"type"}, "static": {"type", "config"}, "metered": _METERED}


class Issue(NamedTuple):
    """The grant that a template issues at the start and after each reset; None where it issues none."""

    amount: Decimal
    priority: int
    least: Decimal
    most: Decimal


def parse(kind: str, value: Any, field: str = "template", *, aggregation: Aggregation | None = None) -> dict[str, Any]:
    """Read the template of an entitlement to a feature of this type.

    Raises:
        ValidationFailed: it is none, naming the member at fault.
    """
    if not isinstance(value, Mapping):
        raise ValidationFailed(f"{field} must be an object.", field=field, code="INVALID_TEMPLATE")
    if value.get("type", kind) != kind:
        message = f"The feature is {kind}: its entitlements have a template of this type."
        raise ValidationFailed(message, field=f"{field}.type", code="TEMPLATE_MISMATCH")
    for name in value.keys() - _KNOWN[kind]:
        raise ValidationFailed("There is no such field.", field=f"{field}.{name}", code="UNKNOWN_FIELD")
    if kind == "metered":
        return _metered(value, field, aggregation)
    return {"type": kind} if kind == "boolean" else {"type": kind, "config": _config(value, field)}


def _config(value: Mapping[str, Any], field: str) -> dict[str, Any]:
    config = value.get("config")
    if not isinstance(config, dict):
        raise ValidationFailed(f"{field}.config must be an object.", field=f"{field}.config", code="INVALID_CONFIG")
    text = json.dumps(config, default=_plain_number)
    if len(text.encode()) > CONFIG_BYTES_MAX:
        message = f"{field}.config may have at most {CONFIG_BYTES_MAX} bytes."
        raise ValidationFailed(message, field=f"{field}.config", code="INVALID_CONFIG")
    plain: dict[str, Any] = json.loads(text)
    return plain


def _plain_number(value: Any) -> int | float:
    """Write a number as JSON does: what a configuration says is the merchant's, and never reckoned with."""
    return int(value) if value == int(value) else float(value)


def _metered(value: Mapping[str, Any], field: str, aggregation: Aggregation | None) -> dict[str, Any]:
    template: dict[str, Any] = {"type": "metered", "usagePeriod": _usage_period(value.get("usagePeriod"), field)}
    for name in _FLAGS:
        flag = value.get(name, False)
        if type(flag) is not bool:
            message = f"{field}.{name} must be true or false."
            raise ValidationFailed(message, field=f"{field}.{name}", code="INVALID_BOOLEAN")
        template[name] = flag
    for name in _UNITS:
        if value.get(name) is not None:
            template[name] = _kept(units(value[name], f"{field}.{name}", aggregation, zero=True))
    if value.get("issueAfterResetPriority") is not None:
        template["issueAfterResetPriority"] = fields.integer(
            value["issueAfterResetPriority"], f"{field}.issueAfterResetPriority", least=0, most=PRIORITY_MAX
        )
    if Decimal(template.get("resetMinRollover", 0)) > Decimal(template.get("resetMaxRollover", 0)):
        message = f"{field}.resetMinRollover may not be more than resetMaxRollover."
        raise ValidationFailed(message, field=f"{field}.resetMinRollover", code="CONTRADICTION")
    return template


def _usage_period(value: Any, field: str) -> dict[str, str]:
    name = f"{field}.usagePeriod"
    if not isinstance(value, Mapping) or value.keys() - {"interval", "anchor"}:
        message = f"{name} must be an object with an interval, and an anchor where it has one."
        raise ValidationFailed(message, field=name, code="INVALID_USAGE_PERIOD")
    interval = value.get("interval")
    try:
        is_sound = type(interval) is str and not periods.parse_cadence(interval).is_once
    except ValueError:
        is_sound = False
    if not is_sound or type(interval) is not str:
        message = f"{name}.interval must be an ISO 8601 duration in years, months, weeks or days, like P1M."
        raise ValidationFailed(message, field=f"{name}.interval", code="INVALID_INTERVAL")
    if value.get("anchor") is None:
        return {"interval": interval}
    return {"interval": interval, "anchor": fields.timestamp(value["anchor"], f"{name}.anchor").isoformat()}


def units(value: object, field: str, aggregation: Aggregation | None, *, zero: bool = False) -> Decimal:
    """Read a number of units of a metric: whole ones, where it counts events.

    Raises:
        ValidationFailed: it is anything but that.
    """
    number = fields.quantity(value, field, zero=zero)
    if aggregation == "COUNT" and number != int(number):
        message = f"{field} must be whole: the metric counts events."
        raise ValidationFailed(message, field=field, code="INVALID_QUANTITY")
    return number


def _kept(number: Decimal) -> int | str:
    """Return units as they are kept: exactly, and as a number where JSON's are exact."""
    return int(number) if number == int(number) else format(number.normalize(), "f")


def plain(number: Decimal) -> int | float:
    """Write units as a JSON number, which the contract has for them; no more is reckoned with it."""
    return int(number) if number == int(number) else float(number)


def terms(template: Mapping[str, Any], *, active_from: datetime, active_to: datetime | None, timezone: str) -> Terms:
    """Return what a metered template agrees; its periods are counted from the start, unless it names an anchor."""
    period = template["usagePeriod"]
    return Terms(
        interval=period["interval"],
        anchor=datetime.fromisoformat(period["anchor"]) if "anchor" in period else active_from,
        timezone=timezone,
        active_from=active_from,
        active_to=active_to,
        is_soft=template.get("isSoftLimit", False),
        preserves_overage=template.get("preserveOverageAtReset", False),
    )


def issue(template: Mapping[str, Any]) -> Issue | None:
    """Return the grant that a metered template issues by itself."""
    amount = Decimal(template.get("issueAfterReset", 0))
    if not amount:
        return None
    return Issue(
        amount,
        template.get("issueAfterResetPriority", PRIORITY_DEFAULT),
        Decimal(template.get("resetMinRollover", 0)),
        Decimal(template.get("resetMaxRollover", 0)),
    )
