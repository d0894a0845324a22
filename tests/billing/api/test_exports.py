"""Histories as CSV over HTTP."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from billing import charge_reads
from billing.models import Charge, Wallet
from merchants import ids
from tests import callers, factories
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import new_buyer, price_of, use
from tests.callers import Caller

HOUR = timedelta(hours=1)


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer(balance="10", fee_rate="0.1")


@pytest.fixture
def seller(buyer: Buyer) -> Caller:
    return callers.caller(merchant=buyer.merchant)


def rows(seller: Caller, wallet: Wallet, what: str, **query: Any) -> list[dict[str, str]]:
    answer = seller.get(f"/v0/wallets/{ids.text('acc', wallet.id)}/{what}/export", query)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer["Content-Disposition"].endswith('.csv"')
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestTransactions:
    def test_are_every_movement_with_the_balance_after_it(self, seller, buyer):
        use(buyer, 2, 4)
        buyers.settle()
        used, paid_in = rows(seller, buyer.prepaid, "transactions")
        assert (used["type"], used["amount"], used["balance"], used["charges"]) == ("usage", "-3.00", "7.00", "2")
        assert (paid_in["type"], paid_in["amount"], paid_in["balance"]) == ("topup", "10.00", "10.00")
        assert paid_in["reference_id"].startswith("top_")
        shown = seller.get(f"/v0/wallets/{ids.text('acc', buyer.prepaid.id)}/transactions").json()["data"]
        assert [row["createdAt"] for row in shown] == [used["created_at"], paid_in["created_at"]]


class TestCharges:
    def test_are_named_by_their_event_price_and_invoice(self, seller, buyer):
        use(buyer, 2, 4)
        found = rows(seller, buyer.prepaid, "charges")
        assert [row["number"] for row in found] == ["1", "2"]
        row = found[1]
        assert (row["kind"], row["quantity"], row["net"], row["total"], row["platform_fee"]) == (
            "usage", "4", "2.00", "2.00", "0.20",
        )  # fmt: skip
        charge = Charge.objects.get(seq=2)
        assert row["usage_event_id"] == ids.text("usg", charge.source_id)
        assert row["invoice_id"] == ids.text("inv", charge.invoice_id)
        assert (row["credit_note_id"], row["price"]) == ("", price_of(buyer).display_name)

    @pytest.mark.parametrize("batch", [1, 2, 1_000])
    def test_of_a_span_are_found_without_reading_the_others(self, seller, buyer, monkeypatch, batch):
        monkeypatch.setattr(charge_reads, "BATCH", batch)
        for hour in range(5):
            buyer.set_clock(NOW + hour * HOUR)
            use(buyer, 1)
        span = {"startTime": (NOW + HOUR).isoformat(), "endTime": (NOW + 3 * HOUR).isoformat()}
        assert [row["number"] for row in rows(seller, buyer.prepaid, "charges", **span)] == ["2", "3"]
        assert len(rows(seller, buyer.prepaid, "charges", startTime=span["endTime"])) == 2
        assert len(rows(seller, buyer.prepaid, "charges", endTime=span["startTime"])) == 1
        assert rows(seller, buyer.prepaid, "charges", startTime=(NOW + 9 * HOUR).isoformat()) == []
        assert len(rows(seller, buyer.prepaid, "charges")) == 5

    def test_of_a_span_are_found_where_a_clock_was_set_back(self, seller, buyer):
        for minutes in (0, 50, 10, 55, 5):
            buyer.set_clock(NOW + timedelta(minutes=minutes))
            use(buyer, 1)
        for least, beyond, found in ((50, 60, ["2", "4"]), (0, 11, ["1", "3", "5"]), (6, 51, ["2", "3"])):
            ends = {"startTime": NOW + timedelta(minutes=least), "endTime": NOW + timedelta(minutes=beyond)}
            span = {name: at.isoformat() for name, at in ends.items()}
            assert [row["number"] for row in rows(seller, buyer.prepaid, "charges", **span)] == found

    def test_of_a_wallet_without_any_are_a_header(self, seller, buyer):
        assert rows(seller, buyer.credit, "charges") == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"startTime": "yesterday"}, "startTime"),
            ({"startTime": "2026-01-02T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}, "endTime"),
            ({"walletId": "x"}, "walletId"),
        ],
    )
    def test_are_refused_by_the_name_of_the_field(self, seller, buyer, query, field):
        answer = seller.get(f"/v0/wallets/{ids.text('acc', buyer.prepaid.id)}/charges/export", query)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)

    def test_of_another_merchants_wallet_do_not_exist(self, buyer):
        stranger = callers.caller(merchant=factories.merchant())
        for what in ("charges", "transactions"):
            path = f"/v0/wallets/{ids.text('acc', buyer.prepaid.id)}/{what}/export"
            assert stranger.get(path).status_code == 404
