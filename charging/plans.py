"""The immutable reference rows the engine needs, loaded once and kept: price books, and whose a metric is."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from billing.prices import PlanVersion, PriceVersion, parse_model
from charging import budgets
from charging.arrays import Uuids
from charging.channel import Channel, Statement, Steps

PLANS_MAX = 20_000
METRICS_MAX = 200_000

T = TypeVar("T")

_PLANS = Statement(
    """
SELECT v.id, v.plan_id, plan.product_id, v.currency, v.billing_cadence, v.tax_behavior, v.default_tax_rate
FROM billing_planversion AS v JOIN billing_plan AS plan ON plan.id = v.plan_id
WHERE v.id = ANY(?)""",
    Uuids,
)
_PRICES = Statement(
    """
SELECT of_plan.plan_version_id, p.id, p.price_id, price.billable_metric_id, price.fee_id, p.payment_term, p.model,
       p.properties, p.billing_cadence, p.display_name, metric.aggregation
FROM billing_planversionprice AS of_plan
JOIN billing_priceversion AS p ON p.id = of_plan.price_version_id
JOIN billing_price AS price ON price.id = p.price_id
LEFT JOIN metering_billablemetric AS metric ON metric.id = price.billable_metric_id
WHERE of_plan.plan_version_id = ANY(?)
ORDER BY p.id""",
    Uuids,
)
_METRICS = Statement("SELECT id, merchant_id FROM metering_billablemetric WHERE id = ANY(?)", Uuids)


class View(NamedTuple):
    """What one batch needs; a Catalogue."""

    plans: dict[bytes, PlanVersion]
    metric_merchants: dict[bytes, bytes]


class Plans:
    """What has been loaded so far. Versions never change, so nothing here is ever stale; the oldest go first."""

    def __init__(self) -> None:
        self._plans: dict[bytes, PlanVersion] = {}
        self._metric_merchants: dict[bytes, bytes] = {}
        self.budgets = budgets.Known()

    def load(self, channel: Channel, plan_version_ids: set[bytes], metric_ids: set[bytes]) -> Steps[View]:
        """Return these versions and the owners of these metrics, read where they are not here yet.

        A metric that does not exist is asked for again next time.
        """
        plans = _known(self._plans, plan_version_ids)
        metrics = _known(self._metric_merchants, metric_ids)
        if missing := plan_version_ids - plans.keys():
            loaded = yield from _load_plans(channel, missing)
            plans.update(loaded)
            _remember(self._plans, loaded, PLANS_MAX)
        if missing := metric_ids - metrics.keys():
            channel.say(_METRICS, [Uuids(list(missing))])
            [rows] = yield from channel.hear()
            metrics.update(rows)
            _remember(self._metric_merchants, dict(rows), METRICS_MAX)
        return View(plans, metrics)


def _load_plans(channel: Channel, missing: Iterable[bytes]) -> Steps[dict[bytes, PlanVersion]]:
    wanted = [Uuids(list(missing))]
    channel.say(_PLANS, wanted)
    channel.say(_PRICES, wanted)
    versions, listed = yield from channel.hear()
    prices: dict[bytes, list[PriceVersion]] = {}
    for plan_version_id, version_id, price_id, metric_id, fee_id, term, model, properties, cadence, name, way in listed:
        charge_model = parse_model(model, properties)
        price = PriceVersion(version_id, price_id, metric_id, fee_id, term, charge_model, cadence, name, way or "SUM")
        prices.setdefault(plan_version_id, []).append(price)
    loaded: dict[bytes, PlanVersion] = {}
    for version_id, plan_id, product_id, currency, cadence, behavior, tax_rate in versions:
        its_prices = tuple(prices.get(version_id, ()))
        loaded[version_id] = PlanVersion(
            version_id, plan_id, product_id, currency, cadence, behavior, tax_rate, its_prices
        )
    return loaded


def _known(cache: dict[bytes, T], wanted: set[bytes]) -> dict[bytes, T]:
    return {key: cache[key] for key in wanted if key in cache}


def _remember(cache: dict[bytes, T], loaded: dict[bytes, T], most: int) -> None:
    cache.update(loaded)
    while len(cache) > most:
        del cache[next(iter(cache))]
