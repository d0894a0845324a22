"""The register of customers: who is entered, changed and struck off.

Apps above hang what they know of a customer on the two lists here, so that nothing here has to know them.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from customers import books, claims
from customers.models import Book, Customer, CustomerClaim
from merchants import ids, outbox
from merchants.errors import Conflict, Forbidden, NotFound, Unavailable, ValidationFailed

BLOCKER_ITEMS_MAX = 10
CREATED, UPDATED = "customer.created.v0", "customer.updated.v0"
DEFAULT_RATE = "default"
NOTIFICATIONS = ("invoiceIssued", "invoicePaid", "renewalReminder", "lowBalance")
TAX_RATE_MAX = 100
TAX_RATE_DECIMALS_MAX = 4
TAX_RATES_MAX = 200
TAX_ID_LENGTH_MAX = 64


class Blocker(TypedDict):
    """What keeps a customer from being deleted: how many there are, and the first few."""

    type: str
    count: int
    items: list[dict[str, str]]


# (bucket, customer id) -> what blocks the customer's deletion; asked under the lock of the book.
FindBlocker = Callable[[int, uuid.UUID], Blocker | None]
# (merchant id, ids) -> those of the ids that are the merchant's.
FindKnown = Callable[[uuid.UUID, Iterable[uuid.UUID]], set[uuid.UUID]]

# (merchant id, address, tax id) -> the tax rates to assume where the merchant states none.
Assess = Callable[[uuid.UUID, dict[str, str], str], dict[str, str] | None]

_assessors: list[Assess] = []
_blockers: list[FindBlocker] = []
_taxable: dict[str, FindKnown] = {}


def register_blocker(find: FindBlocker) -> None:
    """Have a customer's deletion refused while ``find`` finds something."""
    _blockers.append(find)


def register_assessor(assess: Assess) -> None:
    """Have ``assess`` say at which rates customers are taxed for whom the merchant states none."""
    _assessors.append(assess)


def register_taxable(prefix: str, find_known: FindKnown) -> None:
    """Let customers have tax rates of their own for the things whose public ids have this prefix."""
    _taxable[prefix] = find_known


@dataclass(frozen=True, kw_only=True)
class NewCustomer:
    """What a merchant tells of a buyer."""

    name: str
    email: str
    phone: str = ""
    address: dict[str, str] = field(default_factory=dict)
    tax_id: str = ""
    external_id: str | None = None
    tax_rates: dict[str, Decimal] | None = None  # percent by plan id, metric id or "default"


def find(*, merchant_id: uuid.UUID, customer_id: uuid.UUID) -> Customer:
    """Return a merchant's customer with their ``tax_rates``.

    Raises:
        NotFound: there is none, it is another merchant's, or it was struck off.
    """
    bucket = ids.bucket_of(customer_id)
    customer = _present(merchant_id).filter(bucket=bucket, id=customer_id).first()
    if customer is None:
        raise NotFound()
    return customer


def _present(merchant_id: uuid.UUID) -> QuerySet[Customer]:
    rates = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("id")).values("tax_rates")
    return Customer.objects.filter(merchant_id=merchant_id, deleted_at=None).annotate(tax_rates=Subquery(rates))


def search(
    *, merchant_id: uuid.UUID, name: str | None = None, email: str | None = None, external_id: str | None = None
) -> QuerySet[Customer]:
    """Return a merchant's customers with their ``tax_rates``, newest first.

    Args:
        name, email: what these contain, in any case.
        external_id: what this is, exactly.
    """
    query = _present(merchant_id)
    if name is not None:
        query = query.filter(name__icontains=name)
    if email is not None:
        query = query.filter(email__icontains=email)
    if external_id is not None:
        owner = claims.owner_of(merchant_id, CustomerClaim.Kind.EXTERNAL_ID, external_id)
        query = query.filter(bucket=ids.bucket_of(owner), id=owner) if owner else query.none()
    return query.order_by("-created_at", "id")


def named(*, merchant_id: uuid.UUID, subject: str) -> uuid.UUID:
    """Return the customer whom an event's subject names: by the id, or else by the external id.

    A customer struck off is still known by the id.

    Raises:
        NotFound: the merchant has no such customer.
    """
    try:
        customer_id = ids.parse("cus", subject)
    except ids.InvalidId:
        owner = claims.owner_of(merchant_id, CustomerClaim.Kind.EXTERNAL_ID, subject)
        if owner is None:
            raise NotFound("There is no such customer.") from None
        return owner
    books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
    return customer_id


def enter(*, merchant_id: uuid.UUID, new: NewCustomer, now: datetime) -> tuple[Customer, bool]:
    """Enter a customer with an empty book, or find the one who has the e-mail address already.

    One found is left as it is, except that it takes the external id when it has none.

    Returns:
        The customer, and whether it was entered now.

    Raises:
        ValidationFailed: a tax rate is none, or for nothing that is sold.
        NotFound: a tax rate is for something that the merchant does not have.
        Conflict: the external id is another customer's.
    """
    tax_rates = checked_rates(merchant_id, new.tax_rates)
    customer_id = ids.new()
    email = new.email.lower()
    with transaction.atomic():
        owner = claims.claim(merchant_id, CustomerClaim.Kind.EMAIL, email, customer_id)
        if owner != customer_id:
            return _entered_before(merchant_id, owner, new.external_id), False
        if new.external_id is not None:
            claims.claim_external_id(merchant_id, new.external_id, customer_id)
        customer = _write(merchant_id, customer_id, replace(new, email=email), tax_rates, now)
        tell(customer, CREATED, now)
        return customer, True


def enter_managed(*, merchant_id: uuid.UUID, consumer_id: uuid.UUID, external_id: str | None = None) -> Customer:
    """Return the customer through whom a merchant manages a consumer; one without an external id takes the one given.

    Raises:
        Forbidden: the merchant manages no such consumer; whether another one does is not told.
        Conflict: the external id is another customer's.
    """
    with transaction.atomic():
        try:
            customer = find(merchant_id=merchant_id, customer_id=consumer_id)
        except NotFound:
            raise Forbidden("This consumer is not managed by you.", code="CONSUMER_NOT_MANAGED") from None
        return customer if external_id is None else _adopted(customer, external_id)


def _entered_before(merchant_id: uuid.UUID, customer_id: uuid.UUID, external_id: str | None) -> Customer:
    try:
        customer = find(merchant_id=merchant_id, customer_id=customer_id)
        return customer if external_id is None else _adopted(customer, external_id)
    except NotFound:  # struck off since their name was read
        raise Unavailable(claims.BEING_DELETED) from None


def _write(
    merchant_id: uuid.UUID, customer_id: uuid.UUID, new: NewCustomer, tax_rates: dict[str, str] | None, now: datetime
) -> Customer:
    bucket = ids.bucket_of(customer_id)
    assessed = assessed_rates(merchant_id, new.address, new.tax_id)
    Book.objects.create(
        bucket=bucket,
        customer_id=customer_id,
        merchant_id=merchant_id,
        tax_rates=tax_rates,
        assessed_rates=assessed,
    )
    return Customer.objects.create(
        bucket=bucket,
        id=customer_id,
        merchant_id=merchant_id,
        # A consumer that a merchant manages begins and ends with the merchant's customer, and has the same number.
        consumer_id=customer_id,
        name=new.name,
        email=new.email,
        phone=new.phone,
        address=new.address,
        tax_id=new.tax_id,
        external_id=new.external_id,
        created_at=now,
        updated_at=now,
    )


def tell(customer: Customer, type: str, now: datetime) -> None:
    """Tell the merchant's programs what a customer is now."""
    public_id = ids.text("cus", customer.id)
    outbox.record(
        merchant_id=customer.merchant_id,
        type=type,
        data={
            "id": public_id,
            "object": "customer",
            "merchantId": ids.text("org", customer.merchant_id),
            "consumerId": ids.text("org", customer.consumer_id),
            "name": customer.name,
            "email": customer.email,
            "phone": customer.phone,
            "address": customer.address,
            "taxId": customer.tax_id,
            "externalId": customer.external_id,
            "createdAt": outbox.instant(customer.created_at),
            "updatedAt": outbox.instant(customer.updated_at),
        },
        object_id=public_id,
        now=now,
        bucket=customer.bucket,
    )


def strike_off(*, merchant_id: uuid.UUID, customer_id: uuid.UUID) -> None:
    """Delete a customer with whom nothing is open; what was booked stays, and the names are free again.

    Raises:
        NotFound: the merchant has no such customer.
        Conflict: something is open; ``details.blockers`` lists what.
    """
    with transaction.atomic():
        customer, book, now = lock(merchant_id, customer_id)
        found = [find_blocker(customer.bucket, customer.id) for find_blocker in _blockers]
        if blockers := [blocker for blocker in found if blocker is not None]:
            raise Conflict(
                "The customer cannot be deleted while something of theirs is open.",
                code="CUSTOMER_HAS_DEPENDENTS",
                details={"blockers": blockers},
            )
        claims.release(customer, CustomerClaim.Kind.EMAIL, customer.email)
        claims.give_external_id(customer, None)
        customer.deleted_at = customer.updated_at = book.closed_at = now
        customer.save(update_fields=["external_id", "deleted_at", "updated_at"])
        book.save(update_fields=["closed_at"])


def lock(merchant_id: uuid.UUID, customer_id: uuid.UUID) -> tuple[Customer, Book, datetime]:
    """Lock a customer's book, and return the customer, the book and the time; raises NotFound."""
    book, now = books.lock(ids.bucket_of(customer_id), customer_id)
    return find(merchant_id=merchant_id, customer_id=customer_id), book, now


def assessed_rates(merchant_id: uuid.UUID, address: dict[str, str], tax_id: str) -> dict[str, str] | None:
    """Return the tax rates to assume for a customer, as those who were registered for it say; None: no word of it."""
    found: dict[str, str] = {}
    for assess in _assessors:
        found |= assess(merchant_id, address, tax_id) or {}
    return found or None


def _adopted(customer: Customer, external_id: str) -> Customer:
    """Give a customer who has none an external id; raises Conflict where it is another one's."""
    claims.check_external_id(customer, external_id)
    if customer.external_id is None:
        customer, _, now = lock(customer.merchant_id, customer.id)
        if customer.external_id is None:
            claims.give_external_id(customer, external_id)
            customer.updated_at = now
            customer.save(update_fields=["external_id", "updated_at"])
            tell(customer, UPDATED, now)
    return customer


# --- tax rates -------------------------------------------------------------------------------------------


def checked_rates(merchant_id: uuid.UUID, rates: dict[str, Decimal] | None) -> dict[str, str] | None:
    """Return tax rates as they are stored, when every key is ``default`` or the id of something of the merchant's.

    Raises:
        ValidationFailed: a rate is none, or for nothing that is sold.
        NotFound: a rate is for something that the merchant does not have.
    """
    if not rates:
        return None
    if len(rates) > TAX_RATES_MAX:
        raise _bad_rates(f"taxRates may have at most {TAX_RATES_MAX} rates.")
    named: dict[str, set[uuid.UUID]] = {}
    for key, rate in rates.items():
        if not (rate.is_finite() and 0 <= rate <= TAX_RATE_MAX and rate == round(rate, TAX_RATE_DECIMALS_MAX)):
            raise _bad_rates(f"Rates are from 0 to {TAX_RATE_MAX}, with at most {TAX_RATE_DECIMALS_MAX} decimals.", key)
        if key != DEFAULT_RATE:
            prefix, key_id = _taxable_id(key)
            named.setdefault(prefix, set()).add(key_id)
    for prefix, key_ids in named.items():
        if _taxable[prefix](merchant_id, key_ids) != key_ids:
            raise NotFound("taxRates names something that does not exist.")
    return {key: format(rate.normalize(), "f") for key, rate in rates.items()}


def _taxable_id(key: str) -> tuple[str, uuid.UUID]:
    prefix = key.rpartition("_")[0]
    try:
        if prefix in _taxable:
            return prefix, ids.parse(prefix, key)
    except ids.InvalidId:
        pass  # told below, as for any other key
    known = ", ".join([f"{prefix}_…" for prefix in sorted(_taxable)] + [DEFAULT_RATE])
    raise _bad_rates(f"Keys of taxRates are ids of what is sold ({known}).", key)


def _bad_rates(message: str, key: str = "") -> ValidationFailed:
    return ValidationFailed(message, field=f"taxRates.{key}" if key else "taxRates", code="INVALID_TAX_RATE")
