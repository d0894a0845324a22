"""Which provider takes a merchant's payments, and how it is reached with that merchant's keys."""

import uuid

from django.db.models.functions import Now

from billing import money
from billing.models import ProviderCode, ProviderCustomer
from billing.payments import accounts, cards
from billing.payments import minor_units as stripe_units
from billing.payments.provider import Provider, ProviderError
from billing.payments.simulator import Simulator
from merchants.errors import Forbidden, Unprocessable
from merchants.models import Merchant, Mode


class NoProvider(Unprocessable):
    """The merchant has set up no way to be paid."""

    code = "NO_PAYMENT_PROVIDER"
    message = "No payment provider is set up: its keys are entered in the dashboard, under Settings, Payments."


def code_for(merchant_id: uuid.UUID, source: str = "") -> str:
    """Say which provider a merchant's next payment is handed to; a test card is the test provider's.

    Raises:
        NoProvider: a live merchant has set up none.
        Forbidden: a live merchant was to be paid by a test card.
    """
    is_live = Merchant.objects.filter(id=merchant_id, mode=Mode.LIVE).exists()
    if source in cards.BY_TOKEN:
        if is_live:
            raise Forbidden("Test cards add no money in live mode.", code="TEST_PROCESSOR_IN_LIVE_MODE")
        return ProviderCode.TEST
    if accounts.is_connected(merchant_id, ProviderCode.STRIPE):
        return ProviderCode.STRIPE
    if is_live:
        raise NoProvider()
    return ProviderCode.TEST


def open_for(merchant_id: uuid.UUID, code: str, account_id: uuid.UUID | None) -> Provider:
    """Open a provider with a merchant's keys, at the account that what is asked about belongs to.

    Args:
        account_id: of a KnownAccount; None at the test provider.

    Raises:
        ProviderError: the keys of this account are not there, or the merchant is live and the provider moves no money.
    """
    if code == ProviderCode.TEST:
        if not Merchant.objects.filter(id=merchant_id, mode=Mode.TEST).exists():
            raise ProviderError("The test provider moves no money, and takes no payments in live mode.")
        return Simulator(merchant_id)
    if code == ProviderCode.STRIPE:
        return accounts.open_stripe(merchant_id, account_id)
    raise ProviderError(f"There is no account at {code}.")


def minor_units(nanos: int, currency: str, code: str) -> int:
    """Return an amount of whole minor units as a provider counts it; raises CannotBeCharged where it cannot."""
    if code == ProviderCode.STRIPE:
        return stripe_units.to_stripe(nanos, currency)
    return money.to_minor(nanos, currency)[0]


def movable(nanos: int, currency: str, code: str) -> int:
    """Return the most of an amount that a provider can move, in nanos."""
    step = stripe_units.step(currency) if code == ProviderCode.STRIPE else money.minor_unit(currency)
    return nanos - nanos % step


def nanos(amount: int, currency: str, code: str) -> int:
    """Return an amount that a provider counts, in nanos."""
    if code == ProviderCode.STRIPE:
        return stripe_units.from_stripe(amount, currency)
    return money.from_minor(amount, currency)


def customer_ref(bucket: int, customer_id: uuid.UUID, account_id: uuid.UUID) -> str:
    """Return what a customer is called at an account; empty where it has not heard of them."""
    found = ProviderCustomer.objects.filter(bucket=bucket, customer_id=customer_id, account_id=account_id)
    return found.values_list("ref", flat=True).first() or ""


def remember_customer(bucket: int, customer_id: uuid.UUID, code: str, account_id: uuid.UUID, ref: str) -> None:
    """Keep what a customer is called at an account."""
    made = ProviderCustomer(
        bucket=bucket, customer_id=customer_id, provider=code, account_id=account_id, ref=ref, created_at=Now()
    )
    ProviderCustomer.objects.bulk_create([made], ignore_conflicts=True)
