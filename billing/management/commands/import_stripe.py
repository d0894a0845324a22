"""``manage.py import_stripe org_… export.json``: take customers, plans, subscriptions and balances over from Stripe."""

from billing.imports import stripe
from billing.management.importing import ImportCommand


class Command(ImportCommand):
    """Enter what an export of Stripe's says, once (docs/MIGRATING.md)."""

    help = "Take customers, plans, subscriptions and balances over from Stripe; see docs/MIGRATING.md."
    read = staticmethod(stripe.read)
