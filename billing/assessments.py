"""Assessing at which rates customers are taxed, and doing it anew for all of a merchant's when the merchant moves."""

import uuid
from collections.abc import Callable, Mapping

from django.db import transaction

from billing import tax_engines
from billing.models import Seller
from billing.tax_engines import Party
from customers import books, registry
from customers.models import Customer

CUSTOMERS_PER_STEP = 200


def register() -> None:
    """Have the register of customers ask here."""
    registry.register_assessor(assess)


def assess(merchant_id: uuid.UUID, address: Mapping[str, str], tax_id: str) -> dict[str, str] | None:
    """Return the rates to assume for a customer of a merchant, by the installation's tax engine."""
    seller = Seller.objects.filter(merchant_id=merchant_id).first()
    if seller is None or not seller.address.get("country"):
        return None
    own = Party(*_place(seller.address), seller.vat_id or seller.tax_number)
    rates = tax_engines.engine().rates(own, Party(*_place(address), tax_id))
    return dict(rates) if rates else None


def _place(address: Mapping[str, str]) -> tuple[str, str, str]:
    return address.get("country", ""), address.get("state", ""), address.get("zipCode", "")


def assess_due(*, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Assess the customers of merchants that have moved, some at a time; return how many were assessed.

    Where it stopped is kept, so that the next pass goes on from there. What is open keeps the rate that it began with.
    """
    done = 0
    for merchant_id in Seller.objects.filter(is_assessing=True).values_list("merchant_id", flat=True):
        while not is_time_up() and (taken := _assess_some(merchant_id)):
            done += taken
    return done


def _assess_some(merchant_id: uuid.UUID) -> int:
    seller = Seller.objects.get(merchant_id=merchant_id)
    customers = Customer.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("id")
    if seller.assessed_to is not None:
        customers = customers.filter(id__gt=seller.assessed_to)
    some = list(customers[:CUSTOMERS_PER_STEP])
    for customer in some:
        with transaction.atomic():
            book, _ = books.lock(customer.bucket, customer.id)
            customer.refresh_from_db(fields=["address", "tax_id"])  # it may have moved while the lock was waited for
            rates = assess(merchant_id, customer.address, customer.tax_id)
            if book.assessed_rates != rates:
                book.assessed_rates = rates
                book.save(update_fields=["assessed_rates"])
    # Not where the merchant has moved again meanwhile: then it begins anew.
    unmoved = Seller.objects.filter(merchant_id=merchant_id, updated_at=seller.updated_at)
    unmoved.update(**({"assessed_to": some[-1].id} if some else {"is_assessing": False, "assessed_to": None}))
    return len(some)
