"""The log: every event gets one place, in an order that readers can rely on."""

import pytest
from django.db import DatabaseError, transaction

from merchants import ids
from merchants.errors import ValidationFailed
from merchants.models import Delivery, Event, ListedEvent, UnlistedEvent
from merchants.webhooks import endpoints, feed, listing
from tests import factories, parallel
from tests.factories import NOW
from tests.merchants.webhooks.shops import Shop


def list_all() -> int:
    return listing.list_due(NOW)


def read(shop: Shop, cursor=None, *, types=(), limit=100) -> feed.Page:
    return feed.read(merchant_id=shop.merchant.id, cursor=cursor, types=types, limit=limit)


@pytest.mark.django_db
class TestList:
    def test_numbers_each_merchants_events_from_one_on(self):
        shops = [Shop(), Shop()]
        for shop in shops:
            for _ in range(3):
                shop.happens()
        assert [list_all(), list_all()] == [6, 0]
        for shop in shops:
            numbers = ListedEvent.objects.filter(merchant=shop.merchant).order_by("number")
            assert list(numbers.values_list("number", flat=True)) == [1, 2, 3]
        assert not UnlistedEvent.objects.exists()

    def test_delivers_to_whoever_listens(self):
        shop = Shop()
        everything = shop.endpoint()
        invoices = shop.endpoint(event_types=["invoice.paid.v0"])
        endpoints.change(
            merchant_id=shop.merchant.id, endpoint_id=shop.endpoint().id, enabled=False, actor=endpoints.audit.SYSTEM,
            now=NOW,
        )  # fmt: skip
        shop.happens("customer.created.v0")
        shop.happens("invoice.paid.v0")
        list_all()
        told = set(Delivery.objects.values_list("endpoint_id", "event_type"))
        assert told == {
            (everything.id, "customer.created.v0"),
            (everything.id, "invoice.paid.v0"),
            (invoices.id, "invoice.paid.v0"),
        }

    def test_sends_a_test_to_its_endpoint_alone(self):
        shop = Shop()
        tested, _ = shop.endpoint(event_types=["invoice.paid.v0"]), shop.endpoint()
        endpoints.test(merchant_id=shop.merchant.id, endpoint_id=tested.id, now=NOW)
        list_all()
        assert shop.only().endpoint_id == tested.id

    def test_is_never_changed(self):
        Shop().happens()
        list_all()
        with pytest.raises(DatabaseError), transaction.atomic():
            ListedEvent.objects.update(number=7)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_racing_listers_list_each_event_once(self):
        shop = Shop()
        shop.endpoint()
        for _ in range(20):
            shop.happens()
        assert sum(parallel.run(4, lambda _: list_all())) + list_all() == 20
        assert ListedEvent.objects.count() == Delivery.objects.count() == 20

    def test_a_reader_misses_nothing_that_commits_late(self):
        shop = Shop()
        cursor, seen, recorded = None, [], []

        def record(number: int) -> None:
            for _ in range(5):
                with transaction.atomic():
                    shop.happens("customer.created.v0", n=number)
                    with transaction.get_connection().cursor() as late:
                        late.execute("SELECT pg_sleep(%s)", [0.01 * number])

        def act(number: int) -> None:
            nonlocal cursor
            if number:
                record(number)
                return
            for _ in range(40):
                list_all()
                page = read(shop, cursor)
                cursor = page.cursor
                seen.extend(event.id for event in page.events)

        parallel.run(4, act)
        list_all()
        seen.extend(event.id for event in read(shop, cursor).events)
        recorded.extend(Event.objects.values_list("id", flat=True))
        assert len(seen) == len(set(seen)) == 15
        assert set(seen) == set(recorded)


@pytest.mark.django_db
class TestFeed:
    def test_goes_on_where_it_stopped(self):
        shop = Shop()
        for number in range(5):
            shop.happens("customer.created.v0", n=number)
        list_all()
        first = read(shop, limit=2)
        second = read(shop, first.cursor, limit=2)
        third = read(shop, second.cursor, limit=2)
        assert [len(page.events) for page in (first, second, third)] == [2, 2, 1]
        assert [page.has_more for page in (first, second, third)] == [True, True, False]
        assert read(shop, third.cursor).events == []
        shop.happens()
        list_all()
        assert len(read(shop, third.cursor).events) == 1

    def test_picks_types(self):
        shop = Shop()
        shop.happens("customer.created.v0")
        shop.happens("invoice.paid.v0")
        list_all()
        assert [event.type for event in read(shop, types=["invoice.paid.v0"]).events] == ["invoice.paid.v0"]
        with pytest.raises(ValidationFailed):
            read(shop, types=["x"])

    def test_takes_no_cursor_but_its_own(self):
        shop, other = Shop(), Shop()
        cursor = read(shop).cursor
        for wrong in ("1", "", "1.x", cursor[:-1], "x" * 5_000, "\0"):
            with pytest.raises(ValidationFailed):
                read(shop, wrong)
        with pytest.raises(ValidationFailed):
            read(other, cursor)

    def test_shows_nothing_of_another_merchants(self):
        Shop().happens()
        list_all()
        assert read(Shop()).events == []

    def test_waits_for_a_place(self):
        shop = Shop()
        shop.happens()
        assert read(shop).events == []


def test_ids_of_events_lie_in_their_bucket(db):
    shop = Shop(factories.merchant())
    shop.happens()
    event = Event.objects.get()
    assert event.bucket == ids.bucket_of(shop.merchant.id)
