"""The steps from an empty merchant to its first charge: which are done, and what to do next."""

from collections.abc import Callable
from dataclasses import dataclass

from billing.models import Plan, Subscription, Wallet
from merchants import ids
from merchants.models import Merchant, Mode, Product
from metering.models import BillableMetric

KEY_PLACEHOLDER = "$FARTHING_API_KEY"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; the next one is the first that is not done and carries the only primary button."""

    title: str
    text: str
    verb: str
    path: str
    is_done: bool
    is_next: bool = False
    request: str = ""


def steps(*, merchant: Merchant, link: Callable[[str], str], url: str, secret: str) -> list[Step]:
    """List the steps of a merchant that has charged nothing yet.

    Args:
        link: gives the path of a page by its name.
        url: where the API answers, for the ready-made request.
        secret: the first key while it is shown, else empty.
    """
    merchant_id = merchant.id
    is_test = merchant.mode == Mode.TEST
    product = Product.objects.filter(merchant_id=merchant_id).order_by("created_at").first()
    metric = BillableMetric.objects.filter(merchant_id=merchant_id).order_by("created_at").first()
    plan = Plan.objects.filter(merchant_id=merchant_id, deleted_at=None, versions__prices__isnull=False).first()
    subscription = (
        Subscription.objects.filter(merchant_id=merchant_id, status=Subscription.Status.ACTIVE)
        .order_by("created_at")
        .first()
    )
    funding = (
        "Give them test money",
        "On the customer's page.",
        "Open customers",
        "customers",
        _has_funds(subscription),
    )
    rows = [
        ("Create your organization", "", "", "", True),
        ("Create a product", "What you sell: an API, a model, a service.", "Create product", "product-new", product),
        (
            "Define a billable metric",
            "What you charge for, such as code submissions or milliseconds of compute.",
            "Create metric",
            "metric-new",
            metric,
        ),
        (
            "Add a plan and a price",
            "Prices can be as small as $0.000000001 per unit.",
            "Create plan",
            "plan-new",
            plan,
        ),
        (
            "Subscribe a customer",
            "Add a customer and subscribe them to the plan."
            + ("" if is_test else " Prepaid plans start when a balance is paid in."),
            "Add customer",
            "customer-new",
            subscription,
        ),
        *([funding] if is_test else []),
        ("Send your first usage event", "This page turns into your overview when it arrives.", "", "", False),
    ]
    next_at = next(at for at, row in enumerate(rows) if not row[4])
    request = _request(url, secret, subscription, metric) if subscription and metric else ""
    return [
        Step(
            title=title,
            text=text,
            verb=verb,
            path=link(page) if page else "",
            is_done=bool(done),
            is_next=at == next_at,
            request=request if at == len(rows) - 1 else "",
        )
        for at, (title, text, verb, page, done) in enumerate(rows)
    ]


def _has_funds(subscription: Subscription | None) -> bool:
    if subscription is None:
        return False
    pot = Wallet.objects.filter(bucket=subscription.bucket, id=subscription.prepaid_wallet_id)
    return pot.filter(balance__gt=0).exists()


def _request(url: str, secret: str, subscription: Subscription, metric: BillableMetric) -> str:
    return f"""curl {url}/v0/usage \\
  -H "Authorization: Bearer {secret or KEY_PLACEHOLDER}" \\
  -H "Content-Type: application/json" \\
  -d '{{
    "merchantId": "{ids.text("org", subscription.merchant_id)}",
    "customerId": "{ids.text("cus", subscription.customer_id)}",
    "idempotencyKey": "first-event",
    "timestamp": "'"$(date -u +%FT%TZ)"'",
    "properties": [{{"billableMetricId": "{ids.text("bm", metric.id)}", "quantity": 1}}]
  }}'"""
