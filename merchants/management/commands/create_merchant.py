"""``manage.py create_merchant``: the first organization of a fresh installation, or the next one."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from merchants import ids, registration
from merchants.errors import ServiceError


class Command(BaseCommand):
    help = "Register an organization: two merchants, an owner who can sign in, and a first test key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what is asked for."""
        parser.add_argument("organization", help="name of the organization")
        parser.add_argument("email", help="e-mail address of its owner")
        parser.add_argument("--name", default="", help="name of its owner")
        parser.add_argument("--timezone", default="UTC", help="where its billing periods begin, like Europe/Berlin")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        """Register, and print the ids and the only copy of the key."""
        password = input() if options["password_stdin"] else getpass.getpass("Password: ")
        try:
            made = registration.register(
                organization=options["organization"],
                email=options["email"],
                password=password,
                name=options["name"],
                timezone=options["timezone"],
                now=timezone.now(),
            )
        except ServiceError as refused:
            raise CommandError(refused.message) from refused
        self.stdout.write(f"test merchant  {ids.text('org', made.test.id)}")
        self.stdout.write(f"live merchant  {ids.text('org', made.live.id)}")
        self.stdout.write(f"test key       {made.secret}  (shown only now)")
