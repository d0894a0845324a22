"""``manage.py freeze_documents``: write documents of invoices that were issued before documents were kept."""

from typing import Any

from django.core.management.base import BaseCommand

from billing.documents import freezing

LIMIT = 100_000


class Command(BaseCommand):
    """Freeze what issued invoices say that have no document yet."""

    help = "Write the documents of invoices issued before documents were kept, as they read now."

    def handle(self, *args: Any, **options: Any) -> None:
        """Freeze them."""
        self.stdout.write(f"{freezing.freeze_missing(limit=LIMIT)} documents written; their PDFs follow.")
