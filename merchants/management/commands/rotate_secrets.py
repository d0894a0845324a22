"""``manage.py rotate_secrets``: seal with the first of FARTHING_SEALING_KEYS what is sealed with another."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import get_resolver

from merchants import sealing


class Command(BaseCommand):
    help = "Seal with the newest key all secrets that are sealed with an older one; the older may then be removed."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say how many."""
        get_resolver().url_patterns  # noqa: B018 (loads every module, and with it every column that keeps secrets)
        try:
            done = sealing.rotate()
        except sealing.CannotUnseal as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{done} secrets sealed anew")
