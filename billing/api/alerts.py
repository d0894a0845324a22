"""Alerts of little in a wallet, and automatic top-up, over HTTP."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import alerts, auto_top_ups, money
from billing.alerts import NewAlert
from billing.auto_top_ups import Terms
from billing.models import AutoTopUp, WalletAlert
from billing.serializers import DecimalTextField, LifetimeField
from merchants import ids
from merchants.errors import ValidationFailed
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    PageSerializer,
    StrictField,
    page_of,
)
from merchants.tenancy import TenantView

LOW_BALANCE = "wallet_low_balance"
TOP_UPS_NAMED = 10


@extend_schema_field({"type": "array", "items": {"type": "string", "format": "email"}, "maxItems": 10})
class RecipientsField(StrictField):
    """E-mail addresses."""

    def read(self, value: Any, name: str) -> tuple[str, ...]:
        if (
            type(value) is not list
            or len(value) > alerts.RECIPIENTS_MAX
            or any(type(each) is not str for each in value)
        ):
            message = f"{name} must be at most {alerts.RECIPIENTS_MAX} e-mail addresses."
            raise ValidationFailed(message, field=name, code="INVALID_EMAIL")
        for each in value:
            try:
                validate_email(each)
            except ValidationError as error:
                raise ValidationFailed(f"{name} has no e-mail address.", field=name, code="INVALID_EMAIL") from error
        return tuple(dict.fromkeys(value))


class ThresholdSerializer(BodySerializer):
    """Below what is told, in major units."""

    threshold = AmountField()


class ShownThresholdSerializer(serializers.Serializer[WalletAlert]):
    """Below what is told, in major units."""

    threshold = DecimalTextField()


@extend_schema_field({"type": "string", "format": "duration", "example": "P1D"})
class SecondsField(serializers.ReadOnlyField):
    """A duration in the largest unit that fits."""

    def to_representation(self, value: int) -> str:
        for seconds, form in ((86_400, "P{}D"), (3_600, "PT{}H"), (60, "PT{}M")):
            if value % seconds == 0:
                return form.format(value // seconds)
        return f"PT{value}S"


class AlertSerializer(serializers.Serializer[WalletAlert]):
    """Tells by event and by e-mail when less than the threshold is available in a wallet."""

    id = IdField("alrt")
    object = ConstantField("alert")
    type = ConstantField(LOW_BALANCE)
    resourceId = IdField("acc", source="wallet_id")
    config = ShownThresholdSerializer(source="*")
    enabled = serializers.BooleanField()
    notifyPeriod = SecondsField(source="notify_seconds")
    recipients = serializers.ListField(child=serializers.CharField())
    lastNotifiedAt = InstantField(source="last_notified_at", allow_null=True)
    createdAt = InstantField(source="created_at")


class ChangeAlertSerializer(BodySerializer):
    """What an alert can be changed to."""

    config = ThresholdSerializer(required=False)
    enabled = FlagField(required=False)
    notifyPeriod = LifetimeField(
        source="notify_period", required=False, help_text="How long it says nothing after it has told; P1D by default."
    )
    recipients = RecipientsField(required=False, help_text="Besides the customer, who is always told.")


class CreateAlertSerializer(ChangeAlertSerializer):
    """What is watched, and who is told."""

    type = ChoiceField(choices=[LOW_BALANCE])
    resourceId = IdField("acc", source="wallet_id")
    config = ThresholdSerializer()


class AlertQuerySerializer(PageSerializer):
    """Which alerts to list."""

    resourceId = IdField("acc", source="wallet_id", required=False)


class Alerts(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="listAlerts", parameters=[AlertQuerySerializer], responses=page_of(AlertSerializer))
    def get(self, request: Request) -> Response:
        """List your alerts, or those of one wallet."""
        query = self.read_query(AlertQuerySerializer)
        rows = alerts.search(merchant_id=self.merchant_id, wallet_id=query.get("wallet_id"))
        return self.page(rows, query, AlertSerializer)

    @extend_schema(operation_id="createAlert", request=CreateAlertSerializer, responses={201: AlertSerializer})
    def post(self, request: Request) -> Response:
        """Be told when less than a threshold is available in a wallet: once, and again after it has recovered."""
        body = _with_threshold(self.read_body(CreateAlertSerializer))
        wallet_id, _ = body.pop("wallet_id"), body.pop("type")

        def create() -> tuple[int, type[AlertSerializer], WalletAlert]:
            made = alerts.create(
                merchant_id=self.merchant_id, wallet_id=wallet_id, new=NewAlert(**body), actor=self.actor
            )
            return 201, AlertSerializer, made

        return self.answer_once(create)


class AlertById(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="getAlert", responses=AlertSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get an alert, and when it last told."""
        found = alerts.find(merchant_id=self.merchant_id, alert_id=self.path_id("alrt", id))
        return self.answer(AlertSerializer, found)

    @extend_schema(operation_id="updateAlert", request=ChangeAlertSerializer, responses=AlertSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change an alert. It is armed afresh: where little is in the wallet, it tells again after its period."""
        changes = _with_threshold(self.read_body(ChangeAlertSerializer))
        alert_id = self.path_id("alrt", id)
        changed = alerts.change(merchant_id=self.merchant_id, alert_id=alert_id, changes=changes, actor=self.actor)
        return self.answer(AlertSerializer, changed)

    @extend_schema(operation_id="deleteAlert", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Delete an alert."""
        alerts.delete(merchant_id=self.merchant_id, alert_id=self.path_id("alrt", id), actor=self.actor)
        return Response(status=204)


def _with_threshold(body: dict[str, Any]) -> dict[str, Any]:
    config = body.pop("config", None)
    return body if config is None else {**body, "threshold": money.to_nanos(config["threshold"])}


# --- automatic top-up ------------------------------------------------------------------------------------


class LimitSerializer(BodySerializer):
    """The most that is added in a day, a week or a month of your time zone."""

    amount = AmountField()
    period = ChoiceField(choices=AutoTopUp.Period.choices)


class AutoTopUpBodySerializer(BodySerializer):
    """What the customer has agreed to; amounts in major units."""

    amount = AmountField(required=False)
    threshold = AmountField(required=False)
    paymentMethod = IdField(
        "pm", source="method_id", required=False, allow_null=True, help_text="null: the customer's default card."
    )
    limit = LimitSerializer(required=False, allow_null=True)
    enabled = FlagField(required=False)


class CreateAutoTopUpSerializer(AutoTopUpBodySerializer):
    """What the customer has agreed to; amounts in major units."""

    amount = AmountField()
    threshold = AmountField()


class DeactivationSerializer(serializers.Serializer[AutoTopUp]):
    """Why it was switched off, and when."""

    reason = serializers.CharField(source="deactivation_reason")
    at = InstantField(source="deactivated_at")


class ShownLimitSerializer(serializers.Serializer[AutoTopUp]):
    """The most that is added in a period."""

    amount = DecimalTextField(source="limit_amount")
    period = serializers.CharField(source="limit_period")


class AutoTopUpSerializer(serializers.Serializer[AutoTopUp]):
    """Adds an amount by a saved card whenever less than the threshold is available."""

    object = ConstantField("autoTopupConfig")
    walletId = IdField("acc", source="wallet_id")
    amount = DecimalTextField()
    threshold = DecimalTextField()
    paymentMethod = IdField("pm", source="method_id", allow_null=True)
    limit = serializers.SerializerMethodField()
    enabled = serializers.BooleanField()
    deactivation = serializers.SerializerMethodField()
    topupIds = serializers.SerializerMethodField(help_text="The newest automatic top-ups.")
    createdAt = InstantField(source="created_at")

    @extend_schema_field(ShownLimitSerializer(allow_null=True))
    def get_limit(self, made: AutoTopUp) -> Any:
        """Say what the limit is."""
        return None if made.limit_amount is None else ShownLimitSerializer(made).data

    @extend_schema_field(DeactivationSerializer(allow_null=True))
    def get_deactivation(self, made: AutoTopUp) -> Any:
        """Say why it was switched off by itself."""
        return DeactivationSerializer(made).data if made.deactivated_at else None

    def get_topupIds(self, made: AutoTopUp) -> list[str]:  # noqa: N802 - as on the wire
        """Name the newest top-ups."""
        newest = auto_top_ups.top_ups(made).values_list("id", flat=True)[:TOP_UPS_NAMED]
        return [ids.text("top", each) for each in newest]


class AutoTopUpConfig(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="getAutoTopup", responses=AutoTopUpSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get what is agreed about topping a wallet up automatically."""
        found = auto_top_ups.find(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        return self.answer(AutoTopUpSerializer, found)

    @extend_schema(
        operation_id="createAutoTopup", request=CreateAutoTopUpSerializer, responses={201: AutoTopUpSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Set automatic top-up of a wallet up. You say by it that the customer has agreed to be charged."""
        body, wallet_id = self.read_body(CreateAutoTopUpSerializer), self.path_id("acc", id)

        def agree() -> tuple[int, type[AutoTopUpSerializer], AutoTopUp]:
            made = auto_top_ups.agree(
                merchant_id=self.merchant_id, wallet_id=wallet_id, terms=_terms(body), actor=self.actor, is_new=True
            )
            return 201, AutoTopUpSerializer, made

        return self.answer_once(agree)

    @extend_schema(operation_id="updateAutoTopup", request=AutoTopUpBodySerializer, responses=AutoTopUpSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change automatic top-up of a wallet, or switch it off or on again."""
        body, wallet_id = self.read_body(AutoTopUpBodySerializer), self.path_id("acc", id)
        known = auto_top_ups.find(merchant_id=self.merchant_id, wallet_id=wallet_id)
        changed = auto_top_ups.agree(
            merchant_id=self.merchant_id,
            wallet_id=wallet_id,
            terms=_terms(body, known),
            actor=self.actor,
            is_new=False,
        )
        return self.answer(AutoTopUpSerializer, changed)


def _terms(body: dict[str, Any], known: AutoTopUp | None = None) -> Terms:
    """Write what is asked for, the rest as it is known."""
    names = ("amount", "threshold", "method_id", "limit_amount", "limit_period", "enabled")
    terms = {name: getattr(known, name) for name in names} if known is not None else {}
    if "limit" in body:
        limit = body["limit"]
        terms["limit_amount"] = None if limit is None else money.to_nanos(limit["amount"])
        terms["limit_period"] = "" if limit is None else limit["period"]
    terms |= {name: money.to_nanos(body[name]) for name in ("amount", "threshold") if name in body}
    terms |= {name: body[name] for name in ("method_id", "enabled") if name in body}
    return Terms(**terms)


urlpatterns = [
    path("alerts", Alerts.as_view()),
    path("alerts/<str:id>", AlertById.as_view()),
    path("wallets/<str:id>/autoTopupConfig", AutoTopUpConfig.as_view()),
]
