"""Sending: signed, on schedule, to the byte, and past receivers that hang, drip, flood, lie or die."""

import ipaddress
import json
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.core import mail as sent_mail
from django.db import connection
from django.utils import timezone
from standardwebhooks import Webhook

from merchants import mailing, outbound
from merchants.audit import SYSTEM
from merchants.errors import Conflict
from merchants.models import AuditEntry, Delivery, DeliveryAttempt, Endpoint, Membership, Role, User
from merchants.webhooks import deliveries, endpoints, fairness, listing, schedule, sending
from merchants.webhooks.sending import Sender
from tests import parallel
from tests.merchants.webhooks.receivers import answering, dripping, flooding, hanging, hanging_up, receiver
from tests.merchants.webhooks.shops import Shop

State = Delivery.State


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.OUTBOUND_ALLOW = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch) -> Iterator[None]:
    """Whatever a test does, nothing is contacted but this machine."""
    backend = outbound.httpcore.SyncBackend.connect_tcp
    reached: list[str] = []

    def connect(self, host, port, **options):
        reached.append(host)
        return backend(self, host, port, **options)

    monkeypatch.setattr(outbound.httpcore.SyncBackend, "connect_tcp", connect)
    yield
    assert set(reached) <= {"127.0.0.1"}


@pytest.fixture
def shop(db) -> Shop:
    return Shop(now=timezone.now())


def changed(shop: Shop, endpoint: Endpoint, **changes):
    return endpoints.change(
        merchant_id=shop.merchant.id, endpoint_id=endpoint.id, actor=SYSTEM, now=shop.now, **changes
    )


def attempts() -> list[tuple[int, int | None]]:
    return list(DeliveryAttempt.objects.order_by("number").values_list("number", "status"))


class TestDelivery:
    def test_is_what_the_standards_own_library_verifies(self, shop):
        with receiver(answering(200, b"thanks")) as peer:
            made = shop.revealed(peer.url)
            shop.happens(name="Zoë")
            shop.tell()
        [post] = peer.posts
        said = Webhook(made.secret).verify(post.body, post.headers)
        assert said["data"] == {"name": "Zoë"}
        assert post.headers["webhook-id"] == post.headers["svix-id"] == said["eventId"]
        assert post.headers["content-type"] == "application/json"
        delivery = shop.only()
        assert (delivery.state, delivery.attempts, delivery.last_status) == (State.DELIVERED, 1, 200)
        assert DeliveryAttempt.objects.get().response == "thanks"

    def test_is_tried_eight_times_with_the_same_body_and_id(self, shop):
        with receiver(answering(500, b"oops")) as peer:
            shop.endpoint(peer.url)
            shop.happens(n=1)
            shop.tell()
            for pause in schedule.PAUSES:
                assert shop.tell() == 0
                shop.wait(pause * (1 + schedule.JITTER))
                shop.tell()
            shop.wait(timedelta(days=1))
            shop.tell()
        assert len(peer.posts) == schedule.ATTEMPTS_MAX
        assert len({(post.body, post.headers["webhook-id"]) for post in peer.posts}) == 1
        assert len({post.headers["webhook-timestamp"] for post in peer.posts}) == schedule.ATTEMPTS_MAX
        delivery = shop.only()
        assert (delivery.state, delivery.attempts) == (State.FAILED, schedule.ATTEMPTS_MAX)
        assert delivery.last_error == "It answered 500."

    def test_signs_with_old_and_new_secret_after_a_rotation(self, shop):
        with receiver(answering(200)) as peer:
            first = shop.revealed(peer.url)
            second = endpoints.rotate(
                merchant_id=shop.merchant.id, endpoint_id=first.endpoint.id, actor=SYSTEM, now=shop.now
            )
            shop.happens()
            shop.tell()
        for secret in (first.secret, second.secret):
            assert Webhook(secret).verify(peer.posts[0].body, peer.posts[0].headers)

    def test_waits_as_long_as_it_is_asked_to(self, shop):
        with receiver(answering(503, b"", Retry_After="3600")) as peer:
            shop.endpoint(peer.url)
            shop.happens()
            shop.tell()
            shop.wait(timedelta(minutes=59))
            shop.tell()
            assert len(peer.posts) == 1
            shop.wait(timedelta(minutes=1))
            shop.tell()
            assert len(peer.posts) == 2

    def test_takes_a_redirect_for_a_failure(self, shop):
        with receiver(answering(200)) as inner:
            with receiver(answering(301, b"", Location=inner.url)) as peer:
                shop.endpoint(peer.url)
                shop.happens()
                shop.tell()
            assert inner.connections == 0
        assert shop.only().last_error == "It answered 301; redirects are not followed."

    def test_looks_where_a_name_leads_each_time(self, shop, monkeypatch):
        shop.endpoint("https://rebinding.example/")
        monkeypatch.setattr(outbound, "resolve", lambda host, port: ["10.0.0.1"])
        shop.happens()
        shop.tell()
        assert shop.only().last_error.startswith("It leads into a private network.")

    def test_keeps_what_it_was_answered_as_text(self, shop):
        with receiver(answering(400, b"\x00\xff" * 2_000)) as peer:
            shop.endpoint(peer.url)
            shop.happens()
            shop.tell()
        assert len(DeliveryAttempt.objects.get().response) == deliveries.RESPONSE_LENGTH_MAX

    @pytest.mark.django_db(transaction=True)
    def test_holds_no_transaction_open_while_it_calls(self, monkeypatch):
        shop, seen = Shop(now=timezone.now()), []

        def watched(*args, **options):
            seen.append(connection.in_atomic_block)
            return wait(*args, **options)

        monkeypatch.setattr(sending, "wait", watched)
        with receiver(answering(200)) as peer:
            shop.endpoint(peer.url)
            shop.happens()
            shop.tell()
        assert set(seen) == {False}


class TestGivingUp:
    def test_disables_what_is_gone(self, shop):
        with receiver(answering(410)) as peer:
            shop.endpoint(peer.url)
            shop.happens()
            shop.happens()
            shop.tell()
            shop.happens()
            shop.tell()
        endpoint = Endpoint.objects.get()
        assert endpoint.disabled_reason == Endpoint.Disabled.GONE
        assert set(Delivery.objects.values_list("state", flat=True)) == {State.FAILED}
        assert Delivery.objects.count() == 2  # none of what happened since

    def test_disables_after_days_without_success_and_tells_those_who_look_after_it(self, shop):
        people = {role: User.objects.create_user(f"{role}@example.com") for role in (Role.OWNER, Role.ANALYST)}
        for role, user in people.items():
            Membership.objects.create(organization=shop.merchant.organization, user=user, role=role)
        with receiver(answering(500)) as peer:
            shop.endpoint(peer.url)
            for _ in range(6):
                shop.happens()
                shop.tell()
                shop.wait(timedelta(days=1))
        endpoint = Endpoint.objects.get()
        assert endpoint.disabled_reason == Endpoint.Disabled.FAILING
        assert AuditEntry.objects.filter(action="webhook.disabled").count() == 1
        mailing.send_due(clock=shop.clock, is_time_up=lambda: False)
        [message] = sent_mail.outbox
        assert message.to == ["owner@example.com"]
        assert peer.url in message.body

    def test_one_success_begins_the_days_anew(self, shop):
        with receiver(answering(500)) as bad, receiver(answering(200)) as good:
            endpoint = shop.endpoint(bad.url)
            for url in (bad.url, good.url, bad.url):
                changed(shop, endpoint, url=url)
                shop.happens()
                shop.tell()
                shop.wait(timedelta(days=4))
        assert Endpoint.objects.get().disabled_at is None

    def test_ends_what_is_on_its_way_to_what_is_disabled_by_hand(self, shop):
        endpoint = shop.endpoint()
        shop.happens()
        listing.list_due(shop.now)
        changed(shop, endpoint, enabled=False)
        assert (shop.only().state, shop.only().last_error) == (State.FAILED, endpoints.ENDED)
        assert shop.tell() == 0


class TestClaims:
    def test_who_dies_with_a_claim_loses_it_and_the_attempt_counts(self, shop):
        with receiver(answering(200)) as peer:
            shop.endpoint(peer.url)
            shop.happens()
            listing.list_due(shop.now)
            assert len(deliveries.claim(free=8, slots=8, troubled_busy=0, now=shop.now)) == 1
            assert shop.tell() == 0
            shop.wait(deliveries.LEASE)
            shop.tell()
        assert shop.only().attempts == 2
        assert attempts() == [(2, 200)]

    def test_who_comes_back_late_changes_nothing(self, shop):
        with receiver(answering(200)) as peer:
            shop.endpoint(peer.url)
            shop.happens()
            listing.list_due(shop.now)
            [late] = deliveries.claim(free=8, slots=8, troubled_busy=0, now=shop.now)
            shop.wait(deliveries.LEASE)
            shop.tell()
        deliveries.mark(late, deliveries.Result(at=shop.now, milliseconds=1, error="late"), shop.now)
        assert shop.only().state == State.DELIVERED
        assert attempts() == [(1, None), (2, 200)]

    @pytest.mark.django_db(transaction=True)
    def test_racing_senders_send_once_per_attempt(self):
        shop = Shop(now=timezone.now())
        with receiver(answering(200)) as peer:
            shop.endpoint(peer.url)
            for _ in range(20):
                shop.happens()

            def drain(_: int) -> None:
                sender = Sender(8)
                for _ in range(10):
                    sender.run(clock=shop.clock, is_time_up=lambda: False)
                sender.finish(clock=shop.clock)

            results = parallel.run(3, drain)
        assert results == [None] * 3
        assert len(peer.posts) == len({post.headers["webhook-id"] for post in peer.posts}) == 20
        assert set(Delivery.objects.values_list("state", "attempts")) == {(State.DELIVERED, 1)}

    @pytest.mark.django_db(transaction=True)
    def test_racing_claims_keep_to_the_cap_of_an_endpoint(self):
        shop = Shop(now=timezone.now())
        shop.endpoint()
        for _ in range(30):
            shop.happens()
        listing.list_due(shop.now)
        claimed = parallel.run(4, lambda _: deliveries.claim(free=30, slots=64, troubled_busy=0, now=shop.now))
        assert sum(map(len, claimed)) <= fairness.PER_ENDPOINT

    @pytest.mark.django_db(transaction=True)
    def test_keep_to_it_where_the_table_was_empty_when_it_was_last_looked_at(self, admin_connection):
        shop = Shop(now=timezone.now())
        shop.endpoint()
        for _ in range(30):
            shop.happens()
        listing.list_due(shop.now)
        stands = "UPDATE pg_class SET reltuples = %s, relpages = %s WHERE oid = 'merchants_delivery'::regclass"
        admin_connection.execute(stands, [0, 1])
        try:
            claimed = deliveries.claim(free=30, slots=64, troubled_busy=0, now=shop.now)
        finally:
            admin_connection.execute(stands, [-1, 0])
        assert len(claimed) == fairness.PER_ENDPOINT


class TestIsolation:
    """One of many endpoints is dead in some way; the others must not notice."""

    DELAY_SECONDS_MAX = 3.0

    @pytest.mark.parametrize(("behaviour", "others"), [(hanging, 49), (dripping, 9), (flooding, 9), (hanging_up, 9)])
    def test_one_bad_receiver_delays_no_other(self, behaviour, others, shop, monkeypatch):
        monkeypatch.setattr(outbound, "SECONDS_MAX", 8.0)
        shop.sender = Sender(64)
        with ExitStack() as peers:
            bad = peers.enter_context(receiver(behaviour))
            good = [peers.enter_context(receiver(answering(200))) for _ in range(others)]
            shops = [Shop(now=shop.now) for _ in range(others)]
            shop.endpoint(bad.url)
            for each, peer in zip(shops, good, strict=True):
                each.endpoint(peer.url)
            for _ in range(20):
                shop.happens()
            for each in shops:
                each.happens()
            began = time.monotonic()
            while not all(peer.posts for peer in good):
                shop.sender.run(clock=shop.clock, is_time_up=lambda: False)
                assert time.monotonic() - began < 8
            delay = max(peer.posts[0].at for peer in good) - began
            assert delay < self.DELAY_SECONDS_MAX
            # And it hears of what happens next as fast, while the bad one still holds its connections.
            shops[0].happens()
            began = time.monotonic()
            while len(good[0].posts) < 2:
                shop.sender.run(clock=shop.clock, is_time_up=lambda: False)
            assert time.monotonic() - began < self.DELAY_SECONDS_MAX
            assert bad.connections <= 20
            for peer in (bad, *good):
                peer.stop.set()
            shop.sender.finish(clock=shop.clock)


class TestAgain:
    def test_resends_what_was_delivered_as_it_was(self, shop):
        with receiver(answering(200)) as peer:
            endpoint = shop.endpoint(peer.url)
            shop.happens()
            shop.tell()
            whose = {"merchant_id": shop.merchant.id, "endpoint_id": endpoint.id, "now": shop.now}
            deliveries.resend(**whose, delivery_id=shop.only().id)
            shop.tell()
        assert peer.posts[0].body == peer.posts[1].body
        assert attempts() == [(1, 200), (2, 200)]

    def test_replays_what_failed_and_what_was_missed(self, shop):
        with receiver(answering(500)) as bad, receiver(answering(200)) as good:
            endpoint = shop.endpoint(bad.url)
            shop.happens(n=1)
            shop.tell()
            changed(shop, endpoint, enabled=False)
            shop.happens(n=2)
            shop.tell()
            changed(shop, endpoint, enabled=True, url=good.url)
            shop.happens(n=3)
            shop.tell()
            span = {"since": shop.now - timedelta(days=1), "until": shop.now + timedelta(days=1)}
            whose = {"merchant_id": shop.merchant.id, "endpoint_id": endpoint.id, "now": shop.now}
            assert deliveries.replay(**whose, **span) == 2
            assert deliveries.replay(**whose, **span) == 0
            shop.tell()
            told = sorted(json.loads(post.body)["data"]["n"] for post in good.posts)
            assert told == [1, 2, 3]
            assert deliveries.replay(**whose, **span, only_failed=False) == 3

    def test_sends_nothing_again_to_what_is_disabled(self, shop):
        endpoint = shop.endpoint()
        changed(shop, endpoint, enabled=False)
        whose = {"merchant_id": shop.merchant.id, "endpoint_id": endpoint.id, "now": shop.now}
        with pytest.raises(Conflict):
            deliveries.replay(**whose, since=shop.now, until=shop.now)
