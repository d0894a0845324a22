"""Histories over HTTP as files: every movement of a wallet, and every charge, as CSV that is sent as it is read."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.http import StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from billing import charge_reads, histories, money, wallets
from billing.api.credits import TYPES
from billing.charge_reads import Charged
from billing.histories import Movement
from billing.models import Charge, Wallet
from merchants import csv_files, ids
from merchants.errors import ValidationFailed
from merchants.serializers import ChoiceField, InstantField, QuerySerializer
from merchants.tenancy import TenantView

CSV = "text/csv"
MOVEMENT_HEADER: Final = (
    "created_at", "type", "amount", "balance", "currency", "reference_id", "charges", "first_charge_at",
    "last_charge_at",
)  # fmt: skip
CHARGE_HEADER: Final = (
    "number", "charged_at", "kind", "usage_event_id", "idempotency_key", "happened_at", "billable_metric_id", "metric",
    "price_id", "price", "quantity", "counted_quantity", "net", "tax", "total", "platform_fee", "currency",
    "subscription_id", "invoice_id", "credit_note_id", "period_start",
)  # fmt: skip

Line = Sequence[str]


class TransactionExportQuerySerializer(QuerySerializer):
    """Over how long use is summed."""

    groupBy = ChoiceField(source="span", choices=histories.SPANS, default="hour")


class ChargeExportQuerySerializer(QuerySerializer):
    """Of when; left out, all of them."""

    startTime = InstantField(source="start", required=False, help_text="Charges made from this time on.")
    endTime = InstantField(source="end", required=False, help_text="Charges made before this time.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse spans that run backwards."""
        if "start" in attrs and "end" in attrs and not attrs["start"] < attrs["end"]:
            raise ValidationFailed("endTime must be after startTime.", field="endTime", code="INVALID_TIMESTAMP")
        return attrs


class TransactionsExport(TenantView):
    scope = "wallets"

    @extend_schema(
        operation_id="exportTransactions",
        parameters=[TransactionExportQuerySerializer],
        responses={(200, CSV): OpenApiTypes.STR},
    )
    def get(self, request: Request, id: str) -> StreamingHttpResponse:
        """Download every movement of a wallet's money as CSV, the newest first, with the balance after each.

        It is sent as it is read, however long it is: what moves meanwhile is not in it.
        """
        query = self.read_query(TransactionExportQuerySerializer)
        wallet = wallets.find(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        found = histories.everything(wallet, span=query["span"], zone=ZoneInfo("UTC"))
        lines = ([_movement(each, wallet) for each in batch] for batch in found)
        return _answer(request, f"transactions-{id}", MOVEMENT_HEADER, lines)


class ChargesExport(TenantView):
    scope = "wallets"

    @extend_schema(
        operation_id="exportCharges",
        parameters=[ChargeExportQuerySerializer],
        responses={(200, CSV): OpenApiTypes.STR},
    )
    def get(self, request: Request, id: str) -> StreamingHttpResponse:
        """Download every charge of a wallet as CSV, in the order they were made, each with the event it is of.

        It is sent as it is read, however long it is: what is charged meanwhile is not in it.
        """
        query = self.read_query(ChargeExportQuerySerializer)
        wallet = wallets.find(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        found = charge_reads.everything(wallet, start=query.get("start"), end=query.get("end"))
        lines = ([_charge(each, wallet) for each in batch] for batch in found)
        return _answer(request, f"charges-{id}", CHARGE_HEADER, lines)


def _answer(request: Request, name: str, header: Line, lines: Iterator[list[Line]]) -> StreamingHttpResponse:
    return csv_files.answer(request._request, name, header, lines)


def _movement(row: Movement, wallet: Wallet) -> Line:
    kind, prefix = TYPES.get(row.kind, (row.kind, None))
    return [
        _time(row.at),
        kind,
        money.from_nanos(row.amount),
        money.from_nanos(row.balance),
        wallet.currency,
        "" if prefix is None else ids.text(prefix, row.reference_id),
        str(row.charges or ""),
        _time(row.since),
        _time(row.until),
    ]


def _charge(row: Charged, wallet: Wallet) -> Line:
    is_credited = row.kind == Charge.Kind.CREDIT  # its document is the note
    return [
        str(row.seq),
        _time(row.created_at),
        row.kind,
        ids.text("usg", row.usage_event_id) if row.usage_event_id else "",
        csv_files.text(row.idempotency_key or ""),
        _time(row.timestamp),
        ids.text("bm", row.metric_id) if row.metric_id else "",
        csv_files.text(row.metric or ""),
        ids.text("price", row.price_id) if row.price_id else "",
        csv_files.text(row.price or ""),
        money.plain(row.quantity),
        money.plain(row.counted),
        *[money.from_nanos(amount) for amount in (row.net, row.tax, row.gross, row.fee)],
        wallet.currency,
        ids.text("sub", row.subscription_id),
        "" if is_credited else ids.text("inv", row.invoice_id),
        ids.text("cn", row.invoice_id) if is_credited else "",
        _time(row.period_start),
    ]


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""


urlpatterns = [
    path("wallets/<str:id>/transactions/export", TransactionsExport.as_view()),
    path("wallets/<str:id>/charges/export", ChargesExport.as_view()),
]
