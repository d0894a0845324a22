"""The numbers of documents: without a gap for each merchant and kind, given in the transaction that finalises them."""

import uuid

from django.db import connection

from billing.models import CreditNoteNumber, InvoiceNumber, Seller

_NEXT = """
INSERT INTO {table} AS given (merchant_id, last) VALUES (%s, 1)
ON CONFLICT (merchant_id) DO UPDATE SET last = given.last + 1
RETURNING last
"""


def invoice_number(merchant_id: uuid.UUID) -> str:
    """Give the next invoice its number, in the merchant's form."""
    seller = _form(merchant_id)
    return f"{seller.number_prefix}{next_number(InvoiceNumber, merchant_id):0{seller.number_digits}d}"


def credit_note_number(merchant_id: uuid.UUID) -> str:
    """Give the next credit note its number, in the merchant's form."""
    seller = _form(merchant_id)
    return f"{seller.credit_note_prefix}{next_number(CreditNoteNumber, merchant_id):0{seller.number_digits}d}"


def _form(merchant_id: uuid.UUID) -> Seller:
    return Seller.objects.filter(merchant_id=merchant_id).first() or Seller()


def next_number(counter: type[InvoiceNumber | CreditNoteNumber], merchant_id: uuid.UUID) -> int:
    """Take the next number; the counter's row stays locked to the end of the transaction, so take it last."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT.format(table=counter._meta.db_table), [merchant_id])
        number: int = cursor.fetchone()[0]
    return number
