"""``manage.py verify``: prove the books, and name what breaks them."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

import billing.verification
import entitlements.verification
import merchants.verification
import merchants.webhooks.verification
from merchants.verification import Result

CHECKS = (
    *merchants.verification.CHECKS,
    *merchants.webhooks.verification.CHECKS,
    *billing.verification.CHECKS,
    *entitlements.verification.CHECKS,
)

POLL_SECONDS = 1.0


class Command(BaseCommand):
    """Run every check on one snapshot; exit with 1 if any is broken."""

    help = "Check every rule of the books on one snapshot of the database; exit 1 if one is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how to answer, and how long to wait for what is late."""
        parser.add_argument("--json", action="store_true", help="answer in JSON")
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="let what is late catch up for so long, then count it as broken",
        )

    def handle(self, *args: Any, json: bool, wait: float | None, **options: Any) -> None:
        """Check, wait where asked to, and report."""
        try:
            results = merchants.verification.run(CHECKS)
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached; is Farthing running (make run)?\n{error}") from None
        deadline = time.monotonic() + (wait or 0)
        while any(result.is_late for result in results) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            results = merchants.verification.run(CHECKS)
        ok = not any(result.is_broken or (wait is not None and result.is_late) for result in results)
        self.stdout.write(_as_json(results, ok) if json else _as_text(results, ok))
        if not ok:
            sys.exit(1)


def _as_json(results: list[Result], ok: bool) -> str:
    checks = [
        {
            "name": result.check.name,
            "says": result.check.says,
            "state": _state(result),
            "offenders": result.found.count,
            "culprits": result.found.culprits,
            "milliseconds": result.milliseconds,
        }
        for result in results
    ]
    return json.dumps({"ok": ok, "checks": checks}, indent=2)


def _as_text(results: list[Result], ok: bool) -> str:
    lines = []
    for result in results:
        lines.append(f"{_state(result):6} {result.check.name:24} {result.milliseconds:6} ms  {result.check.says}")
        lines += [f"       {culprit}" for culprit in result.found.culprits]
        if (unnamed := result.found.count - len(result.found.culprits)) > 0:
            lines.append(f"       and {unnamed} more")
    broken = sum(result.is_broken for result in results)
    lines.append(f"{len(results)} checks, {broken} broken: the books {'are right' if ok else 'ARE NOT RIGHT'}.")
    return "\n".join(lines)


def _state(result: Result) -> str:
    if result.is_broken:
        return "BROKEN"
    return "late" if result.is_late else "ok"
