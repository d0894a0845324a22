"""Links that open a customer's portal without a login."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.test import override_settings

from customers import portal_links
from merchants import ids

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CUSTOMER = ids.new()
SUBSCRIPTION = ids.new(bucket=ids.bucket_of(CUSTOMER))


def token(expires_at: datetime = NOW + timedelta(minutes=10), customer_id: UUID = CUSTOMER) -> str:
    return portal_links.make(subscription_id=SUBSCRIPTION, customer_id=customer_id, expires_at=expires_at)


class TestRead:
    def test_gives_back_what_the_link_was_made_for(self) -> None:
        link = portal_links.read(token(), now=NOW)
        assert link == (SUBSCRIPTION, CUSTOMER, NOW + timedelta(minutes=10))
        assert link.bucket == CUSTOMER.bytes[15]

    def test_refuses_a_link_from_the_second_it_expires(self) -> None:
        link = token()
        portal_links.read(link, now=NOW + timedelta(minutes=9, seconds=59))
        with pytest.raises(portal_links.LinkRefused):
            portal_links.read(link, now=NOW + timedelta(minutes=10))

    @pytest.mark.parametrize("at", [0, 20, 50, -1])
    def test_refuses_a_link_with_one_character_changed(self, at: int) -> None:
        link = token()
        changed = "A" if link[at] != "A" else "B"
        with pytest.raises(portal_links.LinkRefused):
            portal_links.read(link[:at] + changed + (link[at + 1 :] if at != -1 else ""), now=NOW)

    @pytest.mark.parametrize("text", ["", ".", "a.b", "é.ü", "x" * 500])
    def test_refuses_what_is_no_token_at_all(self, text: str) -> None:
        with pytest.raises(portal_links.LinkRefused):
            portal_links.read(text, now=NOW)

    def test_refuses_a_link_of_another_installation(self) -> None:
        link = token()
        with override_settings(SECRET_KEY="another"), pytest.raises(portal_links.LinkRefused):
            portal_links.read(link, now=NOW)

    def test_survives_a_rotated_signing_key(self, settings: object) -> None:
        link = token()
        with override_settings(SECRET_KEY="next", SECRET_KEY_FALLBACKS=[_current_key()]):
            assert portal_links.read(link, now=NOW).customer_id == CUSTOMER


class TestUrl:
    def test_is_safe_to_paste_into_a_message(self) -> None:
        link = portal_links.url(
            public_url="https://pay.example", subscription_id=SUBSCRIPTION, customer_id=CUSTOMER, expires_at=NOW
        )
        assert link.startswith("https://pay.example/portal/c/")
        assert (
            link.removeprefix("https://pay.example/portal/c/")
            .strip("-_.")
            .replace("-", "")
            .replace("_", "")
            .replace(".", "")
            .isalnum()
        )


def _current_key() -> str:
    from django.conf import settings

    return settings.SECRET_KEY
