"""Changing what is known of a customer: who they are, where, and how they are taxed; audited, and told.

What was issued before says what it said; what is issued from now on says this.
"""

import uuid
from decimal import Decimal
from typing import Any

from django.db import transaction

from customers import claims, registry, tax_ids
from customers.models import Book, Customer
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import ValidationFailed

_PLAIN = ("name", "phone", "address", "tax_id")
_COLUMNS = ("name", "email", "phone", "address", "tax_id", "external_id", "notification_settings")


def change(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, changes: dict[str, Any], actor: Actor) -> Customer:
    """Change what a merchant may change of a customer.

    Args:
        changes: any of name, email, phone, address (all of its parts), tax_id and external_id (None clears these two),
            tax_rates (None clears), default_rate (percent; None clears; the other rates stay) and
            notification_settings (only those given change).

    Returns:
        The customer, with ``tax_rates``.

    Raises:
        NotFound: the merchant has no such customer, or not what a tax rate is for.
        ValidationFailed: a tax rate is none, or for nothing that is sold.
        Conflict: the external id or the e-mail address is another customer's.
    """
    with transaction.atomic():
        customer, book, now = registry.lock(merchant_id, customer_id)
        before = _said(customer, book)
        _apply(customer, changes)
        _tax(customer, book, changes)
        after = _said(customer, book)
        changed = [name for name in after if before[name] != after[name]]
        if changed:
            customer.updated_at = now
            customer.save(update_fields=[*(name for name in changed if name in _COLUMNS), "updated_at"])
            registry.tell(customer, registry.UPDATED, now)
            audit.append(
                merchant_id=merchant_id,
                actor=actor,
                action="customer.changed",
                target=ids.text("cus", customer_id),
                changes={name: {"before": before[name], "after": after[name]} for name in changed},
                now=now,
            )
        return registry.find(merchant_id=merchant_id, customer_id=customer_id)


def as_customer(customer_id: uuid.UUID) -> Actor:
    """Name a customer, who does something on a page of theirs, for the audit log."""
    return Actor(f"customer:{ids.text('cus', customer_id)}")


def name_company(
    *, merchant_id: uuid.UUID, customer_id: uuid.UUID, name: str, address: dict[str, str], tax_id: str, actor: Actor
) -> Customer:
    """Take what a customer says on a page of the company they buy for; one with a tax id stays as they are.

    Args:
        address: as far as it is typed; it counts where no country of the customer is known.

    Returns:
        The customer, with ``tax_rates``.

    Raises:
        NotFound: the merchant has no such customer.
        ValidationFailed: the tax id is none of where the customer is.
    """
    with transaction.atomic():
        customer, _, _ = registry.lock(merchant_id, customer_id)
        if customer.tax_id:
            return customer
        place = customer.address if customer.address.get("country") else {**customer.address, **address}
        verdict = tax_ids.verdict(tax_id, place.get("country", ""))
        if not verdict["valid"]:
            raise ValidationFailed(verdict["message"], field="taxId", code="INVALID_VAT_ID")
        said = {"name": name, "address": place, "tax_id": tax_id}
        return change(merchant_id=merchant_id, customer_id=customer_id, changes=said, actor=actor)


def _said(customer: Customer, book: Book) -> dict[str, Any]:
    """Write down all that can be changed, as the audit log keeps it."""
    said = {name: getattr(customer, name) for name in _COLUMNS}
    settings = dict.fromkeys(registry.NOTIFICATIONS, True) | customer.notification_settings
    return {**said, "notification_settings": settings, "tax_rates": book.tax_rates}


def _apply(customer: Customer, changes: dict[str, Any]) -> None:
    for name in _PLAIN:
        if name in changes:
            setattr(customer, name, changes[name] or ({} if name == "address" else ""))
    if "external_id" in changes:
        claims.give_external_id(customer, changes["external_id"])
    if "email" in changes:
        claims.give_email(customer, changes["email"].lower())
    if "notification_settings" in changes:
        customer.notification_settings = customer.notification_settings | changes["notification_settings"]


def _tax(customer: Customer, book: Book, changes: dict[str, Any]) -> None:
    if {"tax_id", "address"} & changes.keys():
        book.assessed_rates = registry.assessed_rates(customer.merchant_id, customer.address, customer.tax_id)
    if "tax_rates" in changes:
        book.tax_rates = registry.checked_rates(customer.merchant_id, changes["tax_rates"])
    if "default_rate" in changes:
        rates = {key: Decimal(rate) for key, rate in (book.tax_rates or {}).items() if key != registry.DEFAULT_RATE}
        own = {} if changes["default_rate"] is None else {registry.DEFAULT_RATE: changes["default_rate"]}
        book.tax_rates = registry.checked_rates(customer.merchant_id, rates | own)
    book.save(update_fields=["tax_rates", "assessed_rates"])
