"""Links in e-mails to customers: each opens the portal of one subscription, for as long as such a link may."""

from datetime import datetime

from django.conf import settings

from billing.models import Subscription, Wallet
from customers import portal_links


def of(subscription: Subscription, now: datetime) -> str:
    """Make the link to a subscription's portal."""
    return portal_links.url(
        public_url=settings.PUBLIC_URL,
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        expires_at=now + portal_links.LIFETIME_MAX,
    )


def of_wallet(wallet: Wallet, now: datetime) -> str:
    """Make the link to the portal in which a prepaid wallet is seen; empty where there is none."""
    drawing = Subscription.objects.filter(
        bucket=wallet.bucket, customer_id=wallet.customer_id, prepaid_wallet_id=wallet.id
    )
    newest = drawing.filter(status__in=Subscription.RUNNING).order_by("-created_at").first()
    subscription = newest or drawing.order_by("-created_at").first()
    return of(subscription, now) if subscription is not None else ""
