"""What needs no database: signatures, the schedule, and who may send next."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from merchants.webhooks import fairness, schedule, signing
from merchants.webhooks.fairness import Waiting
from tests.factories import NOW

BODY = json.dumps({"a": "Zoë"}, ensure_ascii=False).encode()


def signed(*keys: str, **changes: object) -> dict[str, str]:
    said = {"event_id": "evt_1", "timestamp": int(datetime.now(UTC).timestamp()), "body": BODY, "keys": keys}
    return signing.headers(**{**said, **changes})


class TestSigning:
    def test_is_what_the_standards_own_library_verifies(self):
        key = signing.new_secret()
        assert Webhook(key).verify(BODY, signed(key)) == {"a": "Zoë"}

    def test_verifies_with_either_secret_while_one_is_replaced(self):
        new, old = signing.new_secret(), signing.new_secret()
        for key in (new, old):
            assert Webhook(key).verify(BODY, signed(new, old))

    def test_says_the_same_under_svixs_names(self):
        said = signed(signing.new_secret())
        for name in ("id", "timestamp", "signature"):
            assert said[f"svix-{name}"] == said[f"webhook-{name}"]

    @pytest.mark.parametrize("change", [{"body": b"{}"}, {"event_id": "evt_2"}, {"timestamp": 1_700_000_000}])
    def test_verifies_nothing_else(self, change):
        key = signing.new_secret()
        headers = signed(key, **change) | {"webhook-id": "evt_1"}
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(BODY, headers)


class TestSchedule:
    def test_has_eight_attempts_over_a_day(self):
        pauses = [schedule.pause(step=step) for step in range(1, schedule.ATTEMPTS_MAX + 1)]
        assert pauses.pop() is None
        for pause, planned in zip(pauses, schedule.PAUSES, strict=True):
            assert planned <= pause <= planned * (1 + schedule.JITTER)

    def test_gives_the_patience_that_is_asked_for(self):
        assert schedule.pause(step=1, retry_after="120") == timedelta(seconds=120)
        assert schedule.pause(step=1, retry_after="999999999") == schedule.RETRY_AFTER_MAX

    @pytest.mark.parametrize("text", ["-5", "1e9", "soon", "٣٣٣", "Wed, 21 Oct 2099 07:28:00 GMT", "9" * 50, ""])
    def test_overhears_what_is_no_number(self, text):
        assert schedule.pause(step=1, retry_after=text) < timedelta(seconds=6)

    def test_is_not_hurried(self):
        assert schedule.pause(step=3, retry_after="1") >= timedelta(minutes=30)


class TestShare:
    def waiting(self, count=1, *, merchant=None, due=100, busy=0, troubled=False):
        return [
            Waiting(uuid.uuid4(), merchant or uuid.uuid4(), due, busy, NOW + timedelta(seconds=n), troubled)
            for n in range(count)
        ]

    def share(self, waiting, *, free=64, slots=64, troubled_busy=0):
        return fairness.share(waiting, free=free, slots=slots, troubled_busy=troubled_busy)

    def test_gives_none_more_than_its_cap(self):
        [each] = self.waiting()
        assert self.share([each]) == {each.endpoint_id: fairness.PER_ENDPOINT}

    def test_counts_what_is_on_its_way(self):
        [each] = self.waiting(busy=fairness.PER_ENDPOINT)
        assert self.share([each]) == {}

    def test_deals_in_turns(self):
        given = self.share(self.waiting(10), free=10)
        assert list(given.values()) == [1] * 10

    def test_leaves_half_to_those_that_answer(self):
        troubled, sound = self.waiting(100, troubled=True), self.waiting(1)
        given = self.share(troubled + sound)
        assert sum(given.get(each.endpoint_id, 0) for each in troubled) == 32
        assert given[sound[0].endpoint_id] == fairness.PER_ENDPOINT
        assert self.share(troubled, troubled_busy=32) == {}

    def test_keeps_one_merchant_from_taking_all(self):
        merchant = uuid.uuid4()
        greedy, other = self.waiting(20, merchant=merchant), self.waiting(1)
        given = self.share(greedy + other)
        assert sum(given.get(each.endpoint_id, 0) for each in greedy) == fairness.PER_MERCHANT
        assert given[other[0].endpoint_id] == fairness.PER_ENDPOINT

    def test_gives_no_more_than_is_due(self):
        [each] = self.waiting(due=2)
        assert self.share([each]) == {each.endpoint_id: 2}
