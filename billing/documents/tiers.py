"""What a quantity costs tier by tier, for a line of a document. Pure."""

from decimal import Decimal

from billing.money import EXACT, from_nanos, round_nanos
from billing.prices import Adjusted, ChargeModel, Graduated, plain_of

_ZERO = Decimal(0)


def detail(model: ChargeModel, quantity: Decimal, net: int) -> list[dict[str, str]]:
    """Split a graduated price's quantity over its tiers; nothing where that does not come to ``net`` nanos.

    It does not where a discount, a grant, a minimum or a line on another invoice had a part in the amount: then the
    tiers alone would explain something else than what was charged.
    """
    plain = plain_of(model)
    if not isinstance(plain, Graduated) or quantity <= 0:
        return []
    free = model.included if isinstance(model, Adjusted) else _ZERO
    left, below = quantity, _ZERO
    parts: list[tuple[Decimal, Decimal, Decimal]] = []
    if free:
        parts.append((min(left, free), _ZERO, _ZERO))
        left = max(EXACT.subtract(left, free), _ZERO)
    for tier in plain.tiers:
        if left <= 0:
            break
        within = left if tier.up_to is None else min(left, EXACT.subtract(tier.up_to, below))
        parts.append((within, tier.unit_price, tier.flat_fee))
        left, below = EXACT.subtract(left, within), tier.up_to or below
    total = sum([EXACT.add(EXACT.multiply(count, unit), flat) for count, unit, flat in parts], _ZERO)
    if left > 0 or round_nanos(total) != net:
        return []
    return [
        {
            "quantity": f"{count:f}",
            "unitPrice": f"{unit:f}",
            "flatFee": f"{flat:f}",
            "amount": from_nanos(round_nanos(EXACT.add(EXACT.multiply(count, unit), flat))),
        }
        for count, unit, flat in parts
    ]
