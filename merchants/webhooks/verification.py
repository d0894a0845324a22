"""What must always be true of events, their log, their deliveries and the secrets that sign them."""

from collections.abc import Iterator

from merchants import ids, sealing
from merchants.models import Endpoint
from merchants.verification import Check, Found, collect, rule
from merchants.webhooks import endpoints

LATE = "interval '5 minutes'"


def _closed_secrets() -> Found:
    return collect(_unreadable())


def _unreadable() -> Iterator[str]:
    for endpoint in Endpoint.objects.order_by("id").iterator():
        try:
            endpoints.secret_of(endpoint)
        except sealing.CannotUnseal as error:
            yield f"{ids.text(endpoints.PREFIX, endpoint.id)}: {error}"


CHECKS = (
    rule(
        "events_listed",
        "every event has one place in its merchant's log, or waits for one",
        "evt",
        """
        SELECT event.id, CASE WHEN place.number IS NULL THEN 'has no place and does not wait' ELSE 'waits twice' END
        FROM merchants_event AS event
        LEFT JOIN merchants_listedevent AS place
          ON (place.merchant_id, place.event_bucket, place.event_id) = (event.merchant_id, event.bucket, event.id)
        LEFT JOIN merchants_unlistedevent AS waiting ON (waiting.bucket, waiting.id) = (event.bucket, event.id)
        WHERE (place.number IS NULL) = (waiting.id IS NULL)
        """,
    ),
    rule(
        "log_complete",
        "each merchant's log is numbered from one on, without a gap, up to where it says it goes",
        "org",
        """
        SELECT merchant_id, 'numbers up to ' || last || ', ' || coalesce(count, 0) || ' places'
        FROM merchants_eventlog
        FULL JOIN (
            SELECT merchant_id, count(*) AS count, min(number) AS first, max(number) AS top
            FROM merchants_listedevent GROUP BY merchant_id
        ) AS places USING (merchant_id)
        WHERE coalesce(last, 0) <> coalesce(count, 0) OR coalesce(top, 0) <> coalesce(count, 0)
           OR coalesce(first, 1) <> 1
        """,
    ),
    rule(
        "events_delivered",
        "every event has a delivery to each endpoint that listened for it when it was listed",
        "evt",
        """
        SELECT place.event_id, 'no delivery to ' || endpoint_id
        FROM merchants_listedevent AS place CROSS JOIN unnest(place.endpoint_ids) AS endpoint_id
        WHERE NOT EXISTS (
            SELECT FROM merchants_delivery AS delivery
            WHERE delivery.merchant_id = place.merchant_id AND delivery.endpoint_id = endpoint_id
              AND delivery.event_id = place.event_id
        )
        """,
    ),
    rule(
        "deliveries_at_home",
        "a delivery takes an event of a merchant to an endpoint of the same merchant",
        "whd",
        """
        SELECT delivery.id, NULL
        FROM merchants_delivery AS delivery
        LEFT JOIN merchants_endpoint AS endpoint ON endpoint.id = delivery.endpoint_id
        LEFT JOIN merchants_event AS event ON (event.bucket, event.id) = (delivery.event_bucket, delivery.event_id)
        WHERE endpoint.merchant_id IS DISTINCT FROM delivery.merchant_id
           OR event.merchant_id IS DISTINCT FROM delivery.merchant_id OR event.type IS DISTINCT FROM delivery.event_type
        """,
    ),
    rule(
        "deliveries_proven",
        "what is delivered was answered with 2xx in one of its attempts, and no attempt was made that was not counted",
        "whd",
        """
        SELECT delivery.id, delivery.state || ' after ' || delivery.attempts || ' attempts'
        FROM merchants_delivery AS delivery
        LEFT JOIN LATERAL (
            SELECT coalesce(max(number), 0) AS last, coalesce(bool_or(status BETWEEN 200 AND 299), false) AS succeeded
            FROM merchants_deliveryattempt AS attempt
            WHERE attempt.merchant_id = delivery.merchant_id AND attempt.delivery_id = delivery.id
        ) AS made ON true
        WHERE made.last > delivery.attempts OR (delivery.state = 'delivered' AND NOT made.succeeded)
        """,
    ),
    rule(
        "disabled_left_alone",
        "nothing is on its way to an endpoint that is disabled or removed",
        "whd",
        """
        SELECT delivery.id, NULL
        FROM merchants_delivery AS delivery JOIN merchants_endpoint AS endpoint ON endpoint.id = delivery.endpoint_id
        WHERE delivery.state = 'pending' AND (endpoint.disabled_at IS NOT NULL OR endpoint.deleted_at IS NOT NULL)
        """,
    ),
    Check(
        name="secrets_sealed",
        says="every endpoint's secret opens with our keys, and for that endpoint alone",
        find=_closed_secrets,
    ),
    rule(
        "deliveries_on_time",
        "nothing that is due to be delivered waits for more than five minutes",
        "whd",
        f"SELECT id, NULL FROM merchants_delivery WHERE state = 'pending' AND next_at < now() - {LATE}",  # noqa: S608
        may_lag=True,
    ),
    rule(
        "mail_on_time",
        "no e-mail that is due to be sent waits for more than five minutes",
        "mail",
        f"SELECT id, NULL FROM merchants_mail WHERE state = 'pending' AND next_at < now() - {LATE}",  # noqa: S608
        may_lag=True,
    ),
)
