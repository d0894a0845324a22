"""Links to customers' portals over HTTP."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import subscription_reads
from billing.models import Subscription
from billing.serializers import LifetimeField
from customers import portal_links
from merchants.serializers import BodySerializer, ConstantField, InstantField
from merchants.tenancy import TenantView


def url(subscription: Subscription, expires_at: datetime) -> str:
    """Make a link that opens a subscription's portal until an instant."""
    return portal_links.url(
        public_url=settings.PUBLIC_URL,
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        expires_at=expires_at,
    )


class PortalRequestSerializer(BodySerializer):
    """How long a link lives."""

    expiresIn = LifetimeField(source="lifetime", required=False)


class PortalSerializer(serializers.Serializer[dict[str, Any]]):
    """A link that opens the customer's portal without a login."""

    object = ConstantField("subscriptionPortal")
    url = serializers.CharField()
    expiresAt = InstantField(source="expires_at")


class Portal(TenantView):
    scope = "subscriptions"
    takes_idempotency_key = False  # a link is a secret, and none is kept

    @extend_schema(
        operation_id="generatePortalLink", request=PortalRequestSerializer, responses={200: PortalSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Make a link to the portal of a subscription's customer."""
        body = self.read_body(PortalRequestSerializer)
        subscription = subscription_reads.find(merchant_id=self.merchant_id, subscription_id=self.path_id("sub", id))
        expires_at = (self.now + body.get("lifetime", portal_links.LIFETIME_DEFAULT)).replace(microsecond=0)
        return self.answer(PortalSerializer, {"url": url(subscription, expires_at), "expires_at": expires_at})


urlpatterns = [path("subscriptions/<str:id>/portal", Portal.as_view())]
