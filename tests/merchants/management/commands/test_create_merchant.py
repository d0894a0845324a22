"""``manage.py create_merchant``."""

import io

import pytest
from django.core.management import CommandError, call_command

from merchants import ids, keys
from merchants.models import Merchant

pytestmark = pytest.mark.django_db


def run(monkeypatch, password: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    out = io.StringIO()
    call_command("create_merchant", "Northwind", "ada@northwind.example", "--password-stdin", stdout=out)
    return out.getvalue()


def test_prints_both_merchants_and_a_key_that_works(monkeypatch):
    words = run(monkeypatch, "correct horse battery").split()

    test = Merchant.objects.get(mode="test")
    assert ids.text("org", test.id) in words
    found = keys.find(next(word for word in words if word.startswith("fth_sk_test_")))
    assert found is not None
    assert found.merchant_id == test.id


def test_says_what_is_wrong(monkeypatch):
    with pytest.raises(CommandError, match="too short"):
        run(monkeypatch, "short")
