"""``manage.py reconcile``: hold our payments against the providers', both ways."""

import json
import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.payments import reconciliation
from billing.payments.provider import ProviderDown, ProviderError
from billing.payments.reconciliation import Compared
from merchants import ids

DAYS = 7


class Command(BaseCommand):
    """Compare every account at every provider; exit with 1 if anything differs or does not answer."""

    help = "Hold our payments, refunds and disputes against the providers'; exit 1 if anything differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what to compare, and how to answer."""
        parser.add_argument("--days", type=float, default=DAYS, help="how far back (7)")
        parser.add_argument("--merchant", help="only this one, org_…")
        parser.add_argument(
            "--grace", type=float, default=None, metavar="SECONDS", help="leave out what is so new (300)"
        )
        parser.add_argument("--catch-up", action="store_true", help="first book what only the provider knows")
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, days: float, merchant: str | None, grace: float | None, **options: Any) -> None:
        """Compare, and report."""
        try:
            merchant_id = ids.parse("org", merchant) if merchant else None
        except ids.InvalidId as error:
            raise CommandError(str(error)) from error
        since = timezone.now() - timedelta(days=days)
        wait = reconciliation.GRACE if grace is None else timedelta(seconds=grace)
        compared, unreachable = [], []
        for owner, provider in reconciliation.accounts(merchant_id):
            named = f"{ids.text('org', owner)} at {provider}"
            try:
                if options["catch_up"]:
                    reconciliation.catch_up(merchant_id=owner, provider=provider, since=since)
                compared.append(
                    reconciliation.compare(
                        merchant_id=owner, provider=provider, since=since, now=timezone.now(), grace=wait
                    )
                )
            except (ProviderDown, ProviderError) as error:
                unreachable.append(f"{named}: {error}")
        self.stdout.write((_as_json if options["json"] else _as_text)(compared, unreachable))
        if unreachable or any(each.differences for each in compared):
            sys.exit(1)


def _as_json(compared: list[Compared], unreachable: list[str]) -> str:
    differences = [
        {
            "merchantId": ids.text("org", each.merchant_id),
            "provider": each.provider,
            "kind": each.kind,
            "subject": each.subject,
            "says": each.says,
        }
        for one in compared
        for each in one.differences
    ]
    counts = {name: sum(getattr(each, name) for each in compared) for name in ("payments", "refunds", "disputes")}
    ok = not differences and not unreachable
    answer = {"ok": ok, "accounts": len(compared), **counts, "differences": differences, "unreachable": unreachable}
    return json.dumps(answer, indent=2)


def _as_text(compared: list[Compared], unreachable: list[str]) -> str:
    differences = [each for one in compared for each in one.differences]
    lines = [f"{each.kind:18} {each.subject} at {each.provider}: {each.says}" for each in differences]
    lines += [f"unreachable        {each}" for each in unreachable]
    payments = sum(each.payments for each in compared)
    verdict = "agrees" if not differences and not unreachable else "DOES NOT AGREE"
    lines.append(
        f"{len(compared)} accounts, {payments} payments, {len(differences)} differences, {len(unreachable)} unreachable"
        f": our side {verdict} with the providers'."
    )
    return "\n".join(lines)
