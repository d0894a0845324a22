"""What the commands share that take over from another billing system."""

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.imports import applying
from billing.imports.applying import Line
from billing.imports.shapes import Export, UnreadableExport
from merchants import ids
from merchants.models import Merchant


class ImportCommand(BaseCommand):
    """Reads an export, enters it, and prints a line for each thing in it."""

    read: Callable[[Mapping[str, Any]], Export]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare whose file it is, and how to report."""
        parser.add_argument("merchant", help="whose customers these are, org_…")
        parser.add_argument("file", type=Path, help="a JSON object with a list for each kind of thing")
        parser.add_argument("--dry-run", action="store_true", help="report every difference, and change nothing")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *args: Any, merchant: str, file: Path, **options: Any) -> None:
        """Enter the file, or find out what that would do."""
        try:
            merchant_id = Merchant.objects.get(id=ids.parse("org", merchant)).id
            export = type(self).read(_object(file))
        except (ids.InvalidId, Merchant.DoesNotExist) as unknown:
            raise CommandError(f"There is no merchant {merchant}.") from unknown
        except (OSError, ValueError, UnreadableExport) as unreadable:
            raise CommandError(f"{file} cannot be read: {unreadable}") from unreadable
        except (KeyError, TypeError) as lacking:
            raise CommandError(f"{file} lacks something that every export has: {lacking!r}") from lacking
        is_dry = options["dry_run"]
        lines = applying.run(merchant_id=merchant_id, export=export, now=timezone.now(), is_dry=is_dry)
        self.stdout.write(_json(lines, is_dry) if options["json"] else _table(lines, is_dry))


def _object(file: Path) -> dict[str, Any]:
    data = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise UnreadableExport("it is no JSON object")
    return data


def _json(lines: list[Line], is_dry: bool) -> str:
    return json.dumps(
        {"dryRun": is_dry, "totals": _totals(lines), "lines": [line._asdict() for line in lines]}, indent=2
    )


def _table(lines: list[Line], is_dry: bool) -> str:
    width = max((len(line.external_id) for line in lines), default=0)
    rows = [f"{line.outcome:<12} {line.kind:<13} {line.external_id:<{width}}  {line.detail}".rstrip() for line in lines]
    totals = ", ".join(f"{count} {outcome}" for outcome, count in _totals(lines).items()) or "nothing in the file"
    return "\n".join([*rows, f"{'Dry run, nothing was changed: ' if is_dry else ''}{totals}."])


def _totals(lines: list[Line]) -> dict[str, int]:
    return dict(sorted(Counter(line.outcome for line in lines).items()))
