"""E-mail to customers, as far as each wants it.

A link at the end of a reminder stops its kind. It is signed and never expires: whoever has the e-mail may stop it, and
nothing else.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from django.core import signing
from django.db import transaction

from customers import books
from customers.models import Customer
from merchants import ids, letters, mailing
from merchants.errors import NotFound

UNSUBSCRIBE_PATH = "/portal/unsubscribe/"

_SALT = "farthing.unsubscribe"


def mail(*, customer: Customer, template: str, context: Mapping[str, str], now: datetime, key: str) -> None:
    """Queue an e-mail to a customer who wants its kind; call it inside the transaction of what it tells of.

    Args:
        template, context, key: see ``mailing.queue``.
    """
    kind = letters.named(template)
    if customer.deleted_at is not None or (kind.setting and not customer.notification_settings.get(kind.setting, True)):
        return
    stop = unsubscribe_url(customer.id, kind.setting) if kind.setting and kind.can_unsubscribe else None
    mailing.queue(
        merchant_id=customer.merchant_id,
        template=template,
        to=customer.email,
        context=context,
        now=now,
        key=key,
        unsubscribe_url=stop,
    )


def unsubscribe_url(customer_id: uuid.UUID, setting: str) -> str:
    """Make the link that stops a customer's e-mails of one kind."""
    token = signing.Signer(sep=".", salt=_SALT).sign(f"{ids.text('cus', customer_id)}.{setting}")
    return f"{settings.PUBLIC_URL}{UNSUBSCRIBE_PATH}{token}"


def read(token: str) -> tuple[Customer, str]:
    """Return whose e-mails a link stops, and which; raises NotFound."""
    try:
        named, _, setting = signing.Signer(sep=".", salt=_SALT).unsign(token).partition(".")
        customer_id = ids.parse("cus", named)
    except (signing.BadSignature, ids.InvalidId):
        raise NotFound() from None
    customer = Customer.objects.filter(bucket=ids.bucket_of(customer_id), id=customer_id, deleted_at=None).first()
    if customer is None:
        raise NotFound()
    return customer, setting


def unsubscribe(token: str, now: datetime) -> tuple[Customer, str]:
    """Stop the e-mails that a link names; a second time nothing more happens.

    Raises:
        NotFound: it is none of our links, or the customer was struck off.
    """
    with transaction.atomic():
        found, setting = read(token)
        books.lock(found.bucket, found.id)
        customer = Customer.objects.get(pk=found.pk)
        customer.notification_settings = {**customer.notification_settings, setting: False}
        customer.updated_at = now
        customer.save(update_fields=["notification_settings", "updated_at"])
        return customer, setting
