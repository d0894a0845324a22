"""Who sells, over HTTP."""

import pytest

from merchants.models import AuditEntry, Merchant
from tests import callers
from tests.callers import Caller

pytestmark = pytest.mark.django_db
SENT = {
    "legalName": "Judgebox GmbH", "address": {"line1": "Torstraße 12", "city": "Berlin", "country": "de"},
    "email": "Billing@Judgebox.example", "vatId": "DE 136695976", "bankAccount": "DE89 3704 0044 0532 0130 00",
    "bankCode": "COBADEFFXXX", "bankName": "Sample Bank", "defaultTaxRate": 19, "invoicePrefix": "JB-",
    "numberDigits": 4,
}  # fmt: skip


@pytest.fixture
def seller() -> Caller:
    return callers.caller(*callers.FULL)


def test_is_changed_and_read(seller: Caller) -> None:
    before = seller.get("/v0/organization").json()
    assert (before["id"], before["object"], before["mode"]) == (seller.merchant_id, "organization", "test")
    assert (before["legalName"], before["invoicePrefix"], before["hasLogo"]) == ("", "INV-", False)
    changed = seller.patch("/v0/organization", SENT)
    assert changed.status_code == 200
    assert changed.json() == {
        **before,
        **SENT,
        "address": {"line1": "Torstraße 12", "city": "Berlin", "country": "DE"},
        "email": "billing@judgebox.example",
        "vatId": "DE136695976",
        "bankAccount": "DE89370400440532013000",
    }
    assert seller.get("/v0/organization").json() == changed.json()
    entry = AuditEntry.objects.get(merchant=seller.merchant, action="documents.changed")
    assert entry.actor.startswith("key:")
    assert entry.changes["bank_account"] == {"before": "", "after": "DE89370400440532013000"}


def test_of_the_other_mode_stays(seller: Caller) -> None:
    live = callers.caller(merchant=Merchant.objects.create(organization=seller.merchant.organization, mode="live"))
    seller.patch("/v0/organization", {"legalName": "Judgebox GmbH"})
    assert live.get("/v0/organization").json()["legalName"] == ""


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"vatId": "DE1"}, "vatId", "INVALID_VAT_ID"),
        ({"bankAccount": "DE89370400440532013001"}, "bankAccount", "INVALID_IBAN"),
        ({"address": {"country": "Germany"}}, "address", "INVALID_TEXT"),
        ({"accent": "red"}, "accent", "INVALID_FORMAT"),
        ({"invoicePrefix": "2026"}, "invoicePrefix", "INVALID_FORMAT"),
        ({"email": "nobody"}, "email", "INVALID_EMAIL"),
        ({"logo": "x"}, "logo", "UNKNOWN_FIELD"),
        ({"defaultTaxRate": 101}, "defaultTaxRate", "INVALID_RATE"),
    ],
)
def test_says_what_cannot_be(seller: Caller, body: object, field: str, code: str) -> None:
    answer = seller.patch("/v0/organization", body)
    assert answer.status_code == 400
    assert [(fault["field"], fault["code"]) for fault in answer.json()["errors"]] == [(field, code)]


def test_is_not_changed_by_a_key_that_does_not_name_it() -> None:
    usual = callers.caller()
    assert usual.get("/v0/organization").status_code == 200
    answer = usual.patch("/v0/organization", {"legalName": "A"})
    assert answer.status_code == 403
    assert answer.json()["requiredPermissions"] == ["organization:write"]
