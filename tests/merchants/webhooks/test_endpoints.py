"""Endpoints: where to, which types, with which secret, and when one is given up."""

import os
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from merchants import sealing
from merchants.audit import SYSTEM
from merchants.errors import Conflict, NotFound, ValidationFailed
from merchants.models import AuditEntry, Endpoint, Mode
from merchants.webhooks import endpoints
from tests import factories
from tests.factories import NOW
from tests.merchants.webhooks.shops import Shop

pytestmark = pytest.mark.django_db


def rotate(shop: Shop, endpoint: Endpoint, **options):
    return endpoints.rotate(
        merchant_id=shop.merchant.id, endpoint_id=endpoint.id, actor=SYSTEM, now=shop.now, **options
    )


class TestCreate:
    def test_keeps_the_secret_sealed(self, admin_connection):
        made = Shop().revealed()
        assert made.secret.startswith("whsec_")
        assert made.secret.encode() not in bytes(made.endpoint.secret)
        assert endpoints.secret_of(Endpoint.objects.get()) == made.secret

    def test_notes_it_without_the_secret(self):
        made = Shop().revealed()
        entry = AuditEntry.objects.get()
        assert entry.action == "webhook.created"
        assert made.secret not in str(entry.changes)

    def test_takes_only_types_of_the_catalogue(self):
        with pytest.raises(ValidationFailed, match="sneezed"):
            Shop().endpoint(event_types=["customer.sneezed.v0"])

    def test_takes_no_private_address(self):
        with pytest.raises(ValidationFailed):
            Shop().endpoint("https://10.0.0.1/")

    def test_takes_https_alone_in_live_mode(self):
        live = Shop(factories.merchant(mode=Mode.LIVE))
        assert live.endpoint("https://hooks.example.com/")
        with pytest.raises(ValidationFailed):
            live.endpoint("http://hooks.example.com/")

    def test_has_a_limit(self, monkeypatch):
        monkeypatch.setattr(endpoints, "ENDPOINTS_MAX", 1)
        shop = Shop()
        shop.endpoint()
        with pytest.raises(Conflict):
            shop.endpoint()


class TestRotate:
    def test_signs_with_both_until_the_overlap_is_over(self):
        shop = Shop()
        first = shop.revealed()
        second = rotate(shop, first.endpoint)
        endpoint = Endpoint.objects.get()
        assert endpoints.signing_keys(endpoint, NOW) == [second.secret, first.secret]
        assert endpoints.signing_keys(endpoint, NOW + endpoints.OVERLAP) == [second.secret]

    def test_can_end_the_old_one_at_once(self):
        shop = Shop()
        second = rotate(shop, shop.endpoint(), overlap=timedelta(0))
        assert endpoints.signing_keys(Endpoint.objects.get(), NOW) == [second.secret]

    def test_seals_anew_under_a_new_key(self, settings):
        shop = Shop()
        first = shop.revealed()
        second = rotate(shop, first.endpoint)
        settings.SEALING_KEYS = [("new", os.urandom(32)), *settings.SEALING_KEYS]
        out = StringIO()
        call_command("rotate_secrets", stdout=out)
        assert out.getvalue() == "2 secrets sealed anew\n"
        settings.SEALING_KEYS = settings.SEALING_KEYS[:1]
        endpoint = Endpoint.objects.get()
        assert sealing.key_id(bytes(endpoint.secret)) == "new"
        assert endpoints.signing_keys(endpoint, NOW) == [second.secret, first.secret]

    def test_does_not_open_in_another_row(self):
        shop = Shop()
        one, other = shop.endpoint(), shop.endpoint()
        one.secret = other.secret
        with pytest.raises(sealing.CannotUnseal):
            endpoints.secret_of(one)


class TestTenancy:
    def test_knows_nothing_of_another_merchants(self):
        endpoint, other = Shop().endpoint(), Shop()
        whose = {"merchant_id": other.merchant.id, "endpoint_id": endpoint.id, "now": NOW}
        for act in (
            lambda: endpoints.change(**whose, enabled=False, actor=SYSTEM),
            lambda: endpoints.rotate(**whose, actor=SYSTEM),
            lambda: endpoints.remove(**whose, actor=SYSTEM),
            lambda: endpoints.test(**whose),
        ):
            with pytest.raises(NotFound):
                act()

    def test_forgets_what_was_removed(self):
        shop = Shop()
        endpoint = shop.endpoint()
        whose = {"merchant_id": shop.merchant.id, "endpoint_id": endpoint.id}
        endpoints.remove(**whose, actor=SYSTEM, now=NOW)
        with pytest.raises(NotFound):
            endpoints.find(**whose)
