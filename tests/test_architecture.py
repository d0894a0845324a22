"""What import-linter cannot see: foreign keys between apps, names that hide what a file is for, and its length."""

from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).resolve().parents[1]
HOUSE = (
    "config",
    "dashboard",
    "portal",
    "ui",
    "charging",
    "entitlements",
    "billing",
    "metering",
    "customers",
    "merchants",
)
VAGUE = {"utils", "util", "helpers", "common", "services", "managers", "signals", "misc"}
LINES_MAX = 400

SOURCES = [path for app in HOUSE for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts]


def relations() -> list[tuple[str, str]]:
    return [
        (model._meta.app_label, field.related_model._meta.app_label)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete and field.related_model not in (None, "self")
    ]


class TestForeignKeys:
    def test_point_down_the_house(self):
        upward = {(a, b) for a, b in relations() if a in HOUSE and b in HOUSE and HOUSE.index(a) > HOUSE.index(b)}
        assert not upward

    def test_are_looked_at(self):
        assert ("billing", "merchants") in relations() or ("metering", "merchants") in relations()


class TestFiles:
    def test_have_names_that_say_what_they_do(self):
        assert not [path for path in SOURCES if VAGUE & {path.stem, *path.relative_to(ROOT).parts}]

    def test_are_short_enough_to_read(self):
        assert not [path for path in SOURCES if len(path.read_text().splitlines()) > LINES_MAX]
