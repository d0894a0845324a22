"""A plan as it is offered to a person: its prices in words, with what they come to, and what is paid first."""

from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from billing import currencies, plans, subscriptions, upfront, wording
from billing.models import Authorization, PaymentSession, PlanVersion, Subscription
from billing.models.catalogue import TaxBehavior
from billing.payments import sessions
from billing.prices import PriceVersion
from merchants.models import Mode
from metering.aggregation import Aggregation
from metering.models import BillableMetric
from ui import fmt

CADENCES: Final = {"P1M": "every month", "P3M": "every three months", "P1Y": "every year", "P0D": "once"}


@dataclass(frozen=True, slots=True)
class Price:
    """One price: for what, in words, and an example where there is one to give."""

    name: str
    words: str
    example: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """Everything on the page of an authorization."""

    authorization: Authorization
    merchant: str
    is_test: bool
    is_offered: bool  # still, in the currency of the authorization
    every: str
    prices: list[Price]
    tax: str  # whether prices are with it; empty where the plan charges none
    minimum: str
    session: PaymentSession | None  # in which the person, who has accepted, has still to pay

    @property
    def is_open(self) -> bool:
        return self._waits and self.is_offered

    @property
    def is_off(self) -> bool:
        return self._waits and not self.is_offered

    @property
    def _waits(self) -> bool:
        is_pending = self.authorization.status == Authorization.Status.PENDING
        return is_pending and self.authorization.accepted_at is None

    @property
    def is_done(self) -> bool:
        return self.authorization.status == Authorization.Status.COMPLETED


def invitation(found: Authorization) -> Invitation:
    """Read the page of an authorization, with its plan's newest version in its currency."""
    newest = plans.find(merchant_id=found.merchant_id, plan_id=found.plan_id)
    offer = currencies.find(newest, found.currency)
    version = offer or newest
    organization = found.merchant.organization
    return Invitation(
        authorization=found,
        merchant=organization.name,
        is_test=found.merchant.mode == Mode.TEST,
        is_offered=offer is not None and version.plan.deleted_at is None,
        every=CADENCES.get(version.billing_cadence, f"every {version.billing_cadence}"),
        prices=_prices(version),
        tax=_tax(version),
        minimum=fmt.money(found.minimum_balance, version.currency) if found.minimum_balance else "",
        session=_session(found),
    )


def _tax(version: PlanVersion) -> str:
    if not version.default_tax_rate:
        return ""
    if version.tax_behavior == TaxBehavior.INCLUSIVE:
        return "Prices include tax."
    return "Prices are before tax: where it is due, it comes on top."


def _session(found: Authorization) -> PaymentSession | None:
    if found.status != Authorization.Status.PENDING or found.subscription_id is None:
        return None
    agreed = subscriptions.look_up(merchant_id=found.merchant_id, subscription_id=found.subscription_id)
    if agreed.subscription.status != Subscription.Status.PENDING_PAYMENT:
        return None
    session = upfront.session_of(agreed.subscription)
    return session if session and session.status in sessions.OPEN else None


def _prices(version: PlanVersion) -> list[Price]:
    book = plans.load_version(version.id)
    return [_price(price, version) for price in book.prices]


def _price(price: PriceVersion, version: PlanVersion) -> Price:
    if price.metric_id is None:
        said = wording.in_words(price.model, fmt.Voice(version.currency, "unit")).removesuffix(" per unit")
        cadence = CADENCES.get(price.cadence or version.billing_cadence, "")
        return Price(price.display_name, f"{said} {cadence}".strip(), "")
    metric = BillableMetric.objects.get(id=UUID(bytes=price.metric_id))
    voice = fmt.Voice(version.currency, metric.unit)
    said = wording.in_words(price.model, voice, cast(Aggregation, metric.aggregation), for_customers=True)
    return Price(price.display_name, said, _example(price, metric, version.currency))


def _example(price: PriceVersion, metric: BillableMetric, currency: str) -> str:
    """Say what a usual month's use comes to, where the price goes by the quantity alone."""
    examples = [each for each in wording.examples(price.model) if each.most == each.least]
    if not examples:
        return ""
    last = examples[-1]
    return f"{fmt.qty(last.quantity)} {fmt.units(last.quantity, metric.unit)} come to {fmt.money(last.least, currency)}"
