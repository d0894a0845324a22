"""``manage.py seed_demo``: a merchant to try things with, and a file of everything a client needs to use it."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from config import demo


class Command(BaseCommand):
    help = "Make the demo merchant with a product, a plan and a funded customer, or find it, and write its keys down."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare where to write, and where this installation answers."""
        parser.add_argument("--env-file", type=Path, required=True, help="file to write, and to keep secrets in")
        parser.add_argument("--url", default=settings.PUBLIC_URL, help="where Farthing answers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the demo, write the file, and say how to get in."""
        path: Path = options["env_file"]
        environment = demo.plant(kept=_read(path), url=options["url"].rstrip("/"), now=timezone.now())
        _write(path, environment)
        self.stdout.write(f"url      {environment['FARTHING_URL']}")
        self.stdout.write(f"sign in  {environment['FARTHING_EMAIL']}  {environment['FARTHING_PASSWORD']}")
        self.stdout.write(f"key      {environment['FARTHING_API_KEY']}")


def _read(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _write(path: Path, environment: dict[str, str]) -> None:
    """Replace the file at once, readable by nobody else at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in environment.items())
    new.replace(path)
