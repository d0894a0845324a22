"""Record a meter event: charge what a subscription prices of what it counts for, and only meter the rest. Pure."""

import msgspec

from billing.prices import PlanVersion
from charging import usage
from charging.book import Book, Catalogue, Event, Subscription
from charging.commands import Metering, RecordUsage
from charging.outcomes import Done
from charging.terms import check_running, terms_in
from merchants.errors import Unprocessable


def record(book: Book, command: RecordUsage, metering: Metering, catalogue: Catalogue) -> Done:
    """Record an event that needs no subscription.

    What was recorded under its key answers first, whatever the metrics' definitions have become since.
    """
    if (done := usage.recorded_before(book, command)) is not None:
        return done
    if metering.refusal is not None:
        raise metering.refusal
    if metering.untimed:
        command = msgspec.structs.replace(command, timestamp=book.now)
    usage.check_time(book, command.timestamp)
    sold = _sellers(book, command, catalogue)
    if not sold:
        return Done(_meter(book, command, metering))
    if len(sold) > 1:
        raise Unprocessable(
            "Several subscriptions of the customer price what this event counts for; they must be one.",
            code="SEVERAL_SUBSCRIPTIONS",
        )
    [(subscription, plan)] = sold
    check_running(subscription)
    priced = tuple([item for item in command.properties if plan.price_for_metric(item.metric_id) is not None])
    terms = terms_in(book, subscription, plan, command.timestamp)
    event = usage.charge(book, msgspec.structs.replace(command, properties=priced), terms, catalogue)
    event.properties += usage.lines([item for item in command.properties if item not in priced], metered=True)
    return Done(event)


def _sellers(book: Book, command: RecordUsage, catalogue: Catalogue) -> list[tuple[Subscription, PlanVersion]]:
    """Find the subscriptions that run at the event's time and price something of it."""
    found = []
    for subscription in book.subscriptions:
        at, ending_at = command.timestamp, subscription.ending_at
        if at < subscription.started_at or (ending_at is not None and max(at, book.now) >= ending_at):
            continue
        plan = catalogue.plans[subscription.plan_version_at(at)]
        if any(plan.price_for_metric(item.metric_id) is not None for item in command.properties):
            found.append((subscription, plan))
    return found


def _meter(book: Book, command: RecordUsage, metering: Metering) -> Event:
    event = Event(
        command.id,
        command.customer_id,
        command.merchant_id,
        b"",
        command.key,
        command.fingerprint,
        command.timestamp,
        book.now,
        usage.lines(command.properties, metered=True),
        command.metadata,
        None,
        "",
        b"",
        0,
        0,
        0,
        metering.event,
    )
    usage.write(book, event)
    return event
