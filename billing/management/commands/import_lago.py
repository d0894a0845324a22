"""``manage.py import_lago org_… export.json``: take customers, plans, subscriptions and balances over from Lago."""

from billing.imports import lago
from billing.management.importing import ImportCommand


class Command(ImportCommand):
    """Enter what an export of Lago's says, once (docs/MIGRATING.md)."""

    help = "Take customers, plans, subscriptions and balances over from Lago; see docs/MIGRATING.md."
    read = staticmethod(lago.read)
