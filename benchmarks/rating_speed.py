"""How many uses one core rates a second by each price model: pure arithmetic, no database and no server."""

import time
from decimal import Decimal

from billing import rating
from billing.prices import (
    Adjusted,
    Cell,
    ChargeModel,
    Dynamic,
    Formula,
    Graduated,
    Matrix,
    Package,
    Percentage,
    Standard,
    Tier,
    Volume,
)
from metering.aggregation import Aggregation

SECONDS = 0.5
ROUND = 1_000

_TIERS = (*[Tier(Decimal(10**power), Decimal(1).scaleb(-power)) for power in range(2, 6)], Tier(None, Decimal("1E-7")))
_CELLS = tuple([Cell((model, region), Decimal("0.002")) for model in ("fast", "slow") for region in ("eu", "us")])
MODELS: dict[str, tuple[ChargeModel, Aggregation]] = {
    "standard": (Standard(Decimal("0.0025")), "SUM"),
    "standard, AVG": (Standard(Decimal("0.0025")), "AVG"),
    "with free units": (Adjusted(Standard(Decimal("0.0025")), Decimal(1_000)), "SUM"),
    "package": (Package(Decimal(1_000), Decimal(5)), "SUM"),
    "graduated": (Graduated(_TIERS), "SUM"),
    "volume": (Volume(_TIERS), "SUM"),
    "percentage": (Percentage(Decimal("0.029"), Decimal("0.3"), Decimal("0.5"), Decimal(100)), "SUM"),
    "dynamic": (Dynamic(Decimal(1), Decimal(5)), "SUM"),
    "matrix": (Matrix(("model", "region"), _CELLS), "SUM"),
    "formula": (Formula('quantity * 0.002 + (metadata.model == "fast" ? 0.01 : 0)', Decimal(10)), "SUM"),
    "formula of data": (Formula("data.tokens * 0.002 / 1000 + data.images * 0.04", Decimal(10)), "SUM"),
}

_USAGE = rating.Usage(
    Decimal(3), Decimal("2.5"), None, "key", {"model": "fast", "region": "eu"}, b'{"tokens":1250,"images":2}'
)
_TAX_RATE, _FEE_RATE = Decimal("7.7"), Decimal("0.025")


def measure(seconds: float = SECONDS) -> dict[str, float]:
    """Return the uses rated a second by each model: counter, exact total, rounded totals and the difference."""
    return {name: _rate(model, aggregation, seconds) for name, (model, aggregation) in MODELS.items()}


def _rate(model: ChargeModel, aggregation: Aggregation, seconds: float) -> float:
    accumulator, charged, rated = rating.Accumulator(), rating.Totals(), 0
    begun = time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        for _ in range(ROUND):
            accumulator = rating.accumulate(model, accumulator, _USAGE, aggregation)
            totals = rating.totals(rating.total(model, accumulator), _TAX_RATE, "exclusive", _FEE_RATE)
            rating.difference(totals, charged)
            charged = totals
        rated += ROUND
    return rated / spent
