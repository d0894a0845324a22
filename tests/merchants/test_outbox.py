"""The outbox: what happened and that it is told are one transaction."""

import json

import pytest
from django.db import DatabaseError, transaction

from merchants import outbox
from merchants.models import Event, UnlistedEvent
from merchants.webhooks import catalogue
from tests import factories
from tests.factories import NOW


def record(merchant, **changes):
    said = {"type": "customer.created.v0", "data": {"name": "Zoë"}, "object_id": "cus_1", "now": NOW}
    return outbox.record(merchant_id=merchant.id, **{**said, **changes})


class TestRecord:
    @pytest.mark.django_db
    def test_keeps_the_envelope_as_it_is_sent(self):
        event = Event.objects.get(id=record(factories.merchant()))
        body = json.loads(event.body)
        assert body == {
            "eventType": "customer.created.v0",
            "eventId": body["eventId"],
            "timestamp": "2026-11-15T12:00:00Z",
            "data": {"name": "Zoë"},
        }
        assert body["eventId"].startswith("evt_")
        assert UnlistedEvent.objects.get().id == event.id

    @pytest.mark.django_db
    def test_lies_in_the_customers_bucket(self):
        record(factories.merchant(), bucket=7)
        event = Event.objects.get()
        assert (event.bucket, event.id.bytes[15]) == (7, 7)

    @pytest.mark.django_db(transaction=True)
    def test_is_undone_with_what_happened(self):
        merchant = factories.merchant()
        with transaction.atomic():
            record(merchant)
            transaction.set_rollback(True)
        assert not Event.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_refuses_to_be_called_by_itself(self):
        with pytest.raises(outbox.NotInTransaction):
            record(factories.merchant())

    @pytest.mark.django_db
    def test_refuses_a_type_that_is_not_declared(self):
        with pytest.raises(catalogue.UnknownEventType):
            record(factories.merchant(), type="customer.sneezed.v0")

    @pytest.mark.django_db
    @pytest.mark.parametrize("change", [{"type": "x"}, {"body": ""}])
    def test_is_never_changed(self, change):
        record(factories.merchant())
        with pytest.raises(DatabaseError), transaction.atomic():
            Event.objects.update(**change)


class TestCatalogue:
    def test_names_carry_their_version(self):
        assert all(each.name.rpartition(".v")[2].isdigit() for each in catalogue.TYPES)

    def test_names_each_type_once(self):
        assert len(catalogue.NAMES) == len(catalogue.TYPES)

    def test_examples_are_json(self):
        for each in catalogue.TYPES:
            assert json.loads(json.dumps(each.example)) == each.example
