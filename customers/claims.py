"""Names that are one customer's at a merchant: e-mail addresses and external ids, claimed and released.

All of it inside the caller's transaction.
"""

import uuid

from customers.models import Customer, CustomerClaim
from merchants.errors import Conflict, Unavailable

BEING_DELETED = "This customer is being deleted; try again."
ATTEMPTS_MAX = 3


def owner_of(merchant_id: uuid.UUID, kind: str, value: str) -> uuid.UUID | None:
    """Return whose a name is."""
    claims = CustomerClaim.objects.filter(merchant_id=merchant_id, kind=kind, value=value)
    return claims.values_list("customer_id", flat=True).first()


def claim(merchant_id: uuid.UUID, kind: str, value: str, customer_id: uuid.UUID) -> uuid.UUID:
    """Claim a name for a customer, and return whose it is: theirs, or the one's who had it before.

    The insert waits for anyone who is claiming or releasing the same name; only then the row is read.

    Raises:
        Unavailable: whoever had it is being deleted right now.
    """
    for _ in range(ATTEMPTS_MAX):
        wanted = CustomerClaim(merchant_id=merchant_id, kind=kind, value=value, customer_id=customer_id)
        CustomerClaim.objects.bulk_create([wanted], ignore_conflicts=True)
        owner = owner_of(merchant_id, kind, value)
        if owner is not None:
            return owner
    raise Unavailable(BEING_DELETED)


def release(customer: Customer, kind: str, value: str) -> None:
    """Let a name of a customer's be anybody's."""
    CustomerClaim.objects.filter(merchant_id=customer.merchant_id, kind=kind, value=value).delete()


def claim_external_id(merchant_id: uuid.UUID, external_id: str, customer_id: uuid.UUID) -> None:
    """Claim an external id for a customer; raises Conflict where it is another one's."""
    if claim(merchant_id, CustomerClaim.Kind.EXTERNAL_ID, external_id, customer_id) != customer_id:
        raise _external_id_taken()


def check_external_id(customer: Customer, external_id: str) -> None:
    """Raise Conflict where an external id is another customer's."""
    owner = owner_of(customer.merchant_id, CustomerClaim.Kind.EXTERNAL_ID, external_id)
    if owner is not None and owner != customer.id:
        raise _external_id_taken()


def give_external_id(customer: Customer, external_id: str | None) -> None:
    """Give a customer whose book is locked another external id, or none; raises Conflict where it is another one's."""
    before = customer.external_id
    if external_id == before:
        return
    if external_id is not None:
        claim_external_id(customer.merchant_id, external_id, customer.id)
    if before is not None:
        release(customer, CustomerClaim.Kind.EXTERNAL_ID, before)
    customer.external_id = external_id


def give_email(customer: Customer, email: str) -> None:
    """Give a customer whose book is locked another e-mail address; raises Conflict where it is another one's.

    Args:
        email: in lower case.
    """
    if email == customer.email:
        return
    if claim(customer.merchant_id, CustomerClaim.Kind.EMAIL, email, customer.id) != customer.id:
        raise Conflict("This e-mail address belongs to another customer.", code="EMAIL_TAKEN")
    release(customer, CustomerClaim.Kind.EMAIL, customer.email)
    customer.email = email


def _external_id_taken() -> Conflict:
    return Conflict("This external id belongs to another customer.", code="EXTERNAL_ID_TAKEN")
