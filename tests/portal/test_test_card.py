"""The test provider's own page: a card is entered or a payment confirmed there, and we hear of it by webhook."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from billing.models import Wallet
from billing.payments import attempts
from merchants import ids
from tests.billing.payments import paying
from tests.billing.payments.paying import balance, begun


@pytest.fixture
def wallet(db: None) -> Wallet:
    return paying.pot()


def opened(wallet: Wallet, card: str, **how: Any) -> tuple[Any, str]:
    attempt = attempts.submit(begun(wallet, card, **how))
    return attempt, urlsplit(attempt.action_url).path


def post(path: str, **form: str) -> Any:
    return Client().post(path, form)


class TestPage:
    def test_takes_a_test_card(self, wallet: Wallet) -> None:
        attempt, path = opened(wallet, "", return_url="https://example.com/back")
        shown = Client().get(path)
        assert b"TEST" in shown.content
        assert b"$10.00" in shown.content
        assert (shown["Cache-Control"], shown["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert post(f"{path}/pay", number="4111 1111 1111 1111").status_code == 400
        assert post(f"{path}/pay", number="4242 4242 4242 4242").status_code == 303
        done = Client().get(path).content
        assert b"https://example.com/back" in done
        assert balance(wallet) == 0  # the page itself moves nothing
        paying.settle(1)
        assert attempts.reload(attempt).state == "succeeded"
        assert post(f"{path}/pay", number="4242424242424242").status_code == 409

    @pytest.mark.parametrize(("answer", "state"), [("approve", "succeeded"), ("refuse", "declined")])
    def test_asks_whether_it_is_you(self, wallet: Wallet, answer: str, state: str) -> None:
        attempt, path = opened(wallet, "test_3ds")
        assert b"Is this you?" in Client().get(path).content
        for _ in range(2):
            assert post(f"{path}/confirm", **{answer: "yes"}).status_code == 303
        paying.settle(1)
        assert attempts.reload(attempt).state == state

    def test_of_nothing_says_so(self, wallet: Wallet) -> None:
        _, path = opened(wallet, "")
        other = path.replace(ids.text("org", paying.factories.merchant().id), "x")
        assert Client().get(path[:-1]).status_code == 404
        assert Client().get(other.replace("org_", "cus_")).status_code == 404
        assert post(f"{path[:-1]}/pay", number="4242424242424242").status_code == 404
        assert post(f"{path[:-1]}/confirm").status_code == 404
