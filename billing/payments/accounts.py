"""Merchants' accounts at payment providers: their keys are sealed, shown to nobody, and fit the merchant's mode.

What was made at an account (customers, cards, payments) is of use with its keys alone. So each such row names its
account, which is recognised by what the provider calls it: another key of the same account changes nothing, and one of
another account leaves the rows of the one before alone until its keys come back.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from billing.models import KnownAccount, ProviderAccount, ProviderCode
from billing.payments.provider import Provider, ProviderDown, ProviderError
from merchants import audit, ids, sealing
from merchants.audit import Actor
from merchants.errors import NotFound, Unavailable, ValidationFailed
from merchants.models import Merchant

if TYPE_CHECKING:
    from billing.payments.stripe_account import StripeAccount

HINT_LENGTH = 4
_is_secret_key = re.compile(r"(?:sk|rk)_(test|live)_[0-9A-Za-z]{8,200}").fullmatch
_is_webhook_secret = re.compile(r"whsec_[0-9A-Za-z+/=]{8,200}").fullmatch


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of an account; ``others`` counts those that were connected before."""

    provider: str
    secret_key_hint: str
    has_webhook_secret: bool
    updated_at: datetime
    others: int


def register() -> None:
    """Have sealed keys found when keys are rotated."""
    sealing.register(ProviderAccount, "secret_key", lambda row: _about(row.merchant_id, row.provider, "secret_key"))
    sealing.register(
        ProviderAccount, "webhook_secret", lambda row: _about(row.merchant_id, row.provider, "webhook_secret")
    )


def connect_stripe(
    *, merchant_id: uuid.UUID, secret_key: str, webhook_secret: str | None, actor: Actor, now: datetime
) -> Shown:
    """Keep a merchant's Stripe keys; payments that begin from now on are Stripe's, at the account that they open.

    Args:
        webhook_secret: None leaves the one there is, unless it is of another account.

    Raises:
        ValidationFailed: a key is not of Stripe's form, of the other mode, or Stripe does not know it.
        Unavailable: Stripe does not answer.
        RuntimeError: a transaction is open.
    """
    mode = Merchant.objects.values_list("mode", flat=True).get(id=merchant_id)
    _check(secret_key, webhook_secret, mode)
    with transaction.atomic(durable=True):
        before = ProviderAccount.objects.filter(merchant_id=merchant_id, provider=ProviderCode.STRIPE).first()
    learned = _learn(before)
    identity = _ask_identity(secret_key)
    with transaction.atomic():
        account = _known(merchant_id, identity, learned, now)
        found = ProviderAccount.objects.select_for_update().filter(
            merchant_id=merchant_id, provider=ProviderCode.STRIPE
        )
        columns: dict[str, object] = {
            "account_id": account.id,
            "webhook_secret": found.filter(account_id=account.id).values_list("webhook_secret", flat=True).first(),
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
        changes = {
            "secretKey": str(columns["secret_key_hint"]),
            "webhookSecret": webhook_secret is not None,
            "account": identity,
        }
        _audit(merchant_id, "payment_provider.connected", changes, actor, now)
        return _shown(found.get())


def disconnect_stripe(*, merchant_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Forget a merchant's Stripe keys. What was made with them waits until keys of the same account are entered.

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
    return connected(merchant_id, code) is not None


def connected(merchant_id: uuid.UUID, code: str) -> uuid.UUID | None:
    """Name the account that a merchant has connected at a provider; None at the test provider, or without one."""
    found = ProviderAccount.objects.filter(merchant_id=merchant_id, provider=code)
    return found.values_list("account_id", flat=True).first()


def usable(merchant_id: uuid.UUID) -> Q:
    """Choose rows that belong to the account that a merchant has connected, or to none at all."""
    return Q(account_id=None) | Q(account_id=connected(merchant_id, ProviderCode.STRIPE))


def open_stripe(merchant_id: uuid.UUID, account_id: uuid.UUID | None) -> Provider:
    """Open one of a merchant's Stripe accounts; raises ProviderError where its keys are not there."""
    found = ProviderAccount.objects.filter(merchant_id=merchant_id, provider=ProviderCode.STRIPE).first()
    if found is None:
        raise ProviderError("No Stripe keys are set.")
    if found.account_id != account_id:
        raise ProviderError("This belongs to another Stripe account than the one whose keys are set.")
    return _stripe(_open(found, "secret_key") or "", _open(found, "webhook_secret"))


def _stripe(secret_key: str, webhook_secret: str | None = None) -> "StripeAccount":
    # Its library takes half a second to import: only those who ask it have to wait.
    from billing.payments import stripe_account

    return stripe_account.StripeAccount(
        secret_key=secret_key, webhook_secret=webhook_secret, base_url=settings.STRIPE_API_URL or None
    )


# --- which account it is ---------------------------------------------------------------------------------


def _ask_identity(secret_key: str) -> str:
    """Ask Stripe what it calls the account that a key opens; a key that may not ask stands for an account itself."""
    try:
        return _stripe(secret_key).identity() or f"key:{sha256(secret_key.encode()).hexdigest()}"
    except ProviderError as refused:
        message = f"Stripe does not accept this key: {refused}"
        raise ValidationFailed(message, field="secretKey", code="KEY_REFUSED") from refused
    except ProviderDown as silent:
        raise Unavailable("Stripe does not answer: nothing was changed. Try again in a minute.") from silent


def _learn(before: ProviderAccount | None) -> tuple[uuid.UUID, str] | None:
    """Ask for the name of the account that is connected, where nobody has; None where it is known, or is not told."""
    if before is None:
        return None
    unnamed = KnownAccount.objects.filter(merchant_id=before.merchant_id, id=before.account_id, identity="")
    if not unnamed.exists():
        return None
    try:
        return before.account_id, _ask_identity(_open(before, "secret_key") or "")
    except (ValidationFailed, Unavailable):
        return None


def _known(merchant_id: uuid.UUID, identity: str, learned: tuple[uuid.UUID, str] | None, now: datetime) -> KnownAccount:
    """Return the account of a name, written down where it is new; in a transaction that locks the merchant."""
    Merchant.objects.select_for_update(no_key=True).get(id=merchant_id)  # two who connect at once find one account
    mine = KnownAccount.objects.filter(merchant_id=merchant_id, provider=ProviderCode.STRIPE)
    if learned is not None and not mine.filter(identity=learned[1]).exists():
        mine.filter(id=learned[0], identity="").update(identity=learned[1])
    known = mine.filter(identity=identity).first()
    return known or KnownAccount.objects.create(
        merchant_id=merchant_id, id=ids.new(), provider=ProviderCode.STRIPE, identity=identity, created_at=now
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
    others = KnownAccount.objects.filter(merchant_id=account.merchant_id, provider=account.provider)
    return Shown(
        provider=account.provider,
        secret_key_hint=account.secret_key_hint,
        has_webhook_secret=account.webhook_secret is not None,
        updated_at=account.updated_at,
        others=others.exclude(id=account.account_id).count(),
    )


def _audit(merchant_id: uuid.UUID, action: str, changes: Mapping[str, object], actor: Actor, now: datetime) -> None:
    audit.append(
        merchant_id=merchant_id,
        actor=actor,
        action=action,
        target=ids.text("org", merchant_id),
        changes={"provider": "stripe", **changes},
        now=now,
    )
