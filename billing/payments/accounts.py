"""Merchants' accounts at payment providers: their keys are sealed, shown to nobody, and fit the merchant's mode."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing.models import ProviderAccount, ProviderCode
from billing.payments.provider import Provider, ProviderError
from merchants import audit, ids, sealing
from merchants.audit import Actor
from merchants.errors import NotFound, ValidationFailed
from merchants.models import Merchant

HINT_LENGTH = 4
_is_secret_key = re.compile(r"(?:sk|rk)_(test|live)_[0-9A-Za-z]{8,200}").fullmatch
_is_webhook_secret = re.compile(r"whsec_[0-9A-Za-z+/=]{8,200}").fullmatch


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of an account."""

    provider: str
    secret_key_hint: str
    has_webhook_secret: bool
    updated_at: datetime


def register() -> None:
    """Have sealed keys found when keys are rotated."""
    sealing.register(ProviderAccount, "secret_key", lambda row: _about(row.merchant_id, row.provider, "secret_key"))
    sealing.register(
        ProviderAccount, "webhook_secret", lambda row: _about(row.merchant_id, row.provider, "webhook_secret")
    )


def connect_stripe(
    *, merchant_id: uuid.UUID, secret_key: str, webhook_secret: str | None, actor: Actor, now: datetime
) -> Shown:
    """Keep a merchant's Stripe keys; payments that begin from now on are Stripe's.

    Args:
        webhook_secret: None leaves the one there is.

    Raises:
        ValidationFailed: a key is not of Stripe's form, or of the other mode.
    """
    mode = Merchant.objects.values_list("mode", flat=True).get(id=merchant_id)
    _check(secret_key, webhook_secret, mode)
    with transaction.atomic():
        found = ProviderAccount.objects.select_for_update().filter(
            merchant_id=merchant_id, provider=ProviderCode.STRIPE
        )
        columns: dict[str, object] = {
            "secret_key": sealing.seal(secret_key, about=_about(merchant_id, ProviderCode.STRIPE, "secret_key")),
            "secret_key_hint": f"{secret_key[:8]}…{secret_key[-HINT_LENGTH:]}",
            "updated_at": now,
        }
        if webhook_secret is not None:
            about = _about(merchant_id, ProviderCode.STRIPE, "webhook_secret")
            columns["webhook_secret"] = sealing.seal(webhook_secret, about=about)
        ProviderAccount.objects.update_or_create(
            merchant_id=merchant_id,
            provider=ProviderCode.STRIPE,
            defaults=columns,
            create_defaults={**columns, "created_at": now},
        )
        changes = {"secretKey": str(columns["secret_key_hint"]), "webhookSecret": webhook_secret is not None}
        _audit(merchant_id, "payment_provider.connected", changes, actor, now)
        return _shown(found.get())


def disconnect_stripe(*, merchant_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Forget a merchant's Stripe keys. Payments that are open there are not looked after any more.

    Raises:
        NotFound: none are kept.
    """
    with transaction.atomic():
        gone, _ = ProviderAccount.objects.filter(merchant_id=merchant_id, provider=ProviderCode.STRIPE).delete()
        if not gone:
            raise NotFound()
        _audit(merchant_id, "payment_provider.disconnected", {}, actor, now)


def shown(merchant_id: uuid.UUID) -> Shown | None:
    """Return what may be shown of a merchant's Stripe account, if there is one."""
    found = ProviderAccount.objects.filter(merchant_id=merchant_id, provider=ProviderCode.STRIPE).first()
    return None if found is None else _shown(found)


def is_connected(merchant_id: uuid.UUID, code: str) -> bool:
    """Tell whether a merchant has an account at a provider."""
    return ProviderAccount.objects.filter(merchant_id=merchant_id, provider=code).exists()


def open_stripe(merchant_id: uuid.UUID) -> Provider:
    """Open a merchant's Stripe account; raises ProviderError where there is none."""
    # Its library takes half a second to import: only those who ask it have to wait.
    from billing.payments.stripe_account import StripeAccount

    found = ProviderAccount.objects.filter(merchant_id=merchant_id, provider=ProviderCode.STRIPE).first()
    if found is None:
        raise ProviderError("No Stripe keys are set.")
    return StripeAccount(
        secret_key=_open(found, "secret_key") or "",
        webhook_secret=_open(found, "webhook_secret"),
        base_url=settings.STRIPE_API_URL or None,
    )


def _open(account: ProviderAccount, column: str) -> str | None:
    sealed = getattr(account, column)
    if sealed is None:
        return None
    return sealing.unseal(sealed, about=_about(account.merchant_id, account.provider, column))


def _check(secret_key: str, webhook_secret: str | None, mode: str) -> None:
    matched = _is_secret_key(secret_key)
    if matched is None:
        message = "secretKey must be a secret or restricted key of Stripe's: sk_… or rk_…."
        raise ValidationFailed(message, field="secretKey", code="INVALID_KEY")
    if matched[1] != mode:
        message = f"This is a key of the other mode: in {mode} mode it begins with sk_{mode}_ or rk_{mode}_."
        raise ValidationFailed(message, field="secretKey", code="KEY_OF_OTHER_MODE")
    if webhook_secret is not None and not _is_webhook_secret(webhook_secret):
        message = "webhookSecret must be a signing secret of Stripe's: whsec_…."
        raise ValidationFailed(message, field="webhookSecret", code="INVALID_KEY")


def _about(merchant_id: uuid.UUID, provider: str, column: str) -> str:
    return f"billing_provideraccount.{column}:{merchant_id.hex}:{provider}"


def _shown(account: ProviderAccount) -> Shown:
    return Shown(account.provider, account.secret_key_hint, account.webhook_secret is not None, account.updated_at)


def _audit(merchant_id: uuid.UUID, action: str, changes: Mapping[str, object], actor: Actor, now: datetime) -> None:
    audit.append(
        merchant_id=merchant_id,
        actor=actor,
        action=action,
        target=ids.text("org", merchant_id),
        changes={"provider": "stripe", **changes},
        now=now,
    )
