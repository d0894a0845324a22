"""``manage.py retry_invoice inv_…``: put a parked invoice back on the schedule."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import invoicing
from merchants import ids
from merchants.errors import ServiceError


class Command(BaseCommand):
    """Let billing try an invoice again that it parked."""

    help = "Put a parked invoice back on the schedule, once what kept it from being issued is put right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare which invoice."""
        parser.add_argument("invoice", help="its id, inv_…")

    def handle(self, *args: Any, invoice: str, **options: Any) -> None:
        """Put it back."""
        try:
            retried = invoicing.retry(invoice_id=ids.parse("inv", invoice))
        except (ids.InvalidId, ServiceError) as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{invoice} is {retried.status} again, and billed at the next pass.")
