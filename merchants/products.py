"""Products: what a merchant sells, and what metrics, fees and plans hang from."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from merchants.errors import NotFound
from merchants.models import Product


def create(
    *, merchant_id: UUID, name: str, description: str, metadata: dict[str, str] | None = None, now: datetime
) -> Product:
    """Add a product to a merchant's catalogue."""
    return Product.objects.create(
        merchant_id=merchant_id,
        name=name,
        description=description,
        metadata=metadata or {},
        created_at=now,
        updated_at=now,
    )


def update(
    *,
    merchant_id: UUID,
    product_id: UUID,
    name: str | None = None,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
    now: datetime,
) -> Product:
    """Change what is given of a product.

    Raises:
        NotFound: the merchant has no such product.
    """
    with transaction.atomic():
        product = Product.objects.select_for_update(no_key=True).filter(merchant_id=merchant_id, id=product_id).first()
        if product is None:
            raise NotFound()
        product.name = product.name if name is None else name
        product.description = product.description if description is None else description
        product.metadata = product.metadata if metadata is None else metadata
        product.updated_at = now
        product.save(update_fields=["name", "description", "metadata", "updated_at"])
    return product


def get(*, merchant_id: UUID, product_id: UUID) -> Product:
    """Find a product of a merchant.

    Raises:
        NotFound: the merchant has no such product.
    """
    product = Product.objects.filter(merchant_id=merchant_id, id=product_id).first()
    if product is None:
        raise NotFound()
    return product
