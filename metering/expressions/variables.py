"""What an expression about a usage event may name."""

from collections.abc import Mapping
from types import MappingProxyType

from metering.expressions.kinds import ANY, NUMBER, STRING, TIMESTAMP, Type, map_of, nullable

EVENT: Mapping[str, Type] = MappingProxyType(
    {
        "quantity": NUMBER,
        "price": nullable(NUMBER),  # the unit price stated with the event, in major units
        "metadata": map_of(STRING),
        "data": map_of(ANY),  # JSON; numbers in it are int or Decimal
        "timestamp": TIMESTAMP,  # when it happened
    }
)
# What a metric's own expressions may name: the quantity is what they are there to tell.
REPORT: Mapping[str, Type] = MappingProxyType({name: EVENT[name] for name in ("metadata", "data", "timestamp")})
