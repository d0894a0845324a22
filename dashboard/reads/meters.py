"""What a metric came to, day by day, as its page shows it."""

from decimal import Decimal

from merchants.errors import ServiceError
from metering import meters
from metering.models import Aggregation, BillableMetric
from ui.spans import Span

SECONDS_MAX = 2.0  # a page does not wait longer for a picture


def daily(metric: BillableMetric, span: Span) -> list[Decimal] | None:
    """Return a metric's value on each day of a span of days; None where that takes too long, or is no one figure."""
    if metric.aggregation == Aggregation.TIME_WEIGHTED_SUM:
        return None  # it is each customer's own
    scope = meters.Scope(metric=metric, start=span.start, end=span.now, window_size="DAY", timezone=span.zone.key)
    try:
        windows = meters.read(scope, seconds_max=SECONDS_MAX).windows or []
    except ServiceError:
        return None
    values = {window.start: window.value for window in windows}
    return [values.get(start, Decimal(0)) for start in span.starts]
