"""Settings → Invoices and taxes: owners say who sells, others look."""

import io
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from billing.documents import samples
from billing.models import Seller
from tests import scenes

USUAL = {
    "accent": "#4b4acf", "default_tax_rate": "0", "number_digits": "6", "number_prefix": "INV-",
    "credit_note_prefix": "CN-",
}  # fmt: skip


@pytest.fixture
def path(scene: scenes.Scene) -> str:
    return f"/{scene.slug}/test/settings/invoices"


@pytest.fixture
def client(scene: scenes.Scene) -> Client:
    return scenes.signed_in(scene.user)


def test_keeps_what_is_sent(client: Client, path: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 20), "teal").save(out, "PNG")
    logo = SimpleUploadedFile("../../x.png", out.getvalue(), content_type="image/png")
    sent = {**USUAL, "legal_name": "Judgebox <GmbH>", "country": "DE", "vat_id": "DE 136695976", "logo": logo}
    assert client.post(path, sent).status_code == 302
    seller = Seller.objects.get()
    assert (seller.legal_name, seller.address, seller.vat_id) == ("Judgebox <GmbH>", {"country": "DE"}, "DE136695976")
    shown = client.get(path).content.decode()
    assert "Judgebox &lt;GmbH&gt;" in shown
    assert client.get(f"{path}/logo")["Content-Type"] == "image/png"
    assert client.get(f"{path}/sample").content.startswith(b"%PDF-")


def test_the_sample_names_countries_as_invoices_do(client: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post(path, {**USUAL, "country": "DE"})
    printed: list[dict[str, Any]] = []
    monkeypatch.setattr(samples.rendering, "pdf", lambda document, **_: printed.append(document) or b"%PDF-")
    client.get(f"{path}/sample")
    assert (printed[0]["seller"]["countryName"], printed[0]["buyer"]["countryName"]) == ("Germany", "Germany")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("vat_id", "DE1", "no VAT id"),
        ("country", "Q1", "not one of the available choices"),
        ("number_prefix", "2026", "no digit"),
        ("accent", "red", "colour"),
    ],
)
def test_says_what_cannot_be(client: Client, path: str, field: str, value: str, said: str) -> None:
    answer = client.post(path, {**USUAL, field: value})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Seller.objects.exists()


def test_is_only_looked_at_by_others(scene: scenes.Scene, path: str) -> None:
    registered = scenes.registration.Registered(
        scene.test.organization, scene.test, scene.live, scene.user, scene.secret
    )
    analyst = scenes.signed_in(scenes.colleague(registered=registered, role="analyst"))
    assert b"Only owners change this" in analyst.get(path).content
    assert analyst.post(path, USUAL).status_code == 403
