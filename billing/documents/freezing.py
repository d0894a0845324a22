"""Freezing: what an issued document says is written down once, with its digest, in the transaction that issues it."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef

from billing.documents import canonical, crediting, gathering
from billing.models import CreditNote, CreditNoteLine, Document, Invoice, Subscription, UnprintedDocument
from customers import books
from merchants import ids
from merchants.errors import Conflict, NotFound


def freeze(invoice: Invoice, now: datetime) -> Document:
    """Write down an invoice that has just been given its number; the caller's transaction holds the customer's book.

    Its PDF is made later, from what is written here alone.
    """
    return _write(Document.Kind.INVOICE, invoice, gathering.of_invoice(invoice, now), now)


def freeze_credit_note(note: CreditNote, lines: Sequence[CreditNoteLine], now: datetime) -> Document:
    """Write down a credit note that has just been given its number; as ``freeze``."""
    return _write(Document.Kind.CREDIT_NOTE, note, crediting.of_credit_note(note, lines, now), now)


def _write(kind: Document.Kind, subject: Invoice | CreditNote, says: dict[str, object], now: datetime) -> Document:
    content = canonical.write(says)
    document = Document(
        bucket=subject.bucket,
        id=ids.derived(subject.bucket, "document", kind, subject.id),
        customer_id=subject.customer_id,
        merchant_id=subject.merchant_id,
        kind=kind,
        subject_id=subject.id,
        number=subject.number or "",
        content=content,
        digest=canonical.digest(content),
        created_at=now,
    )
    document.save(force_insert=True)
    UnprintedDocument.objects.create(bucket=document.bucket, document_id=document.id, since=now)
    return document


def of_invoice(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID) -> Document:
    """Return the document of an issued invoice.

    Raises:
        NotFound: there is no such invoice, or it was issued before documents were kept (freeze_missing).
        Conflict: it is not issued yet.
    """
    bucket = ids.bucket_of(invoice_id)
    numbers = Invoice.objects.filter(bucket=bucket, id=invoice_id, merchant_id=merchant_id).values_list("number")
    if not numbers:
        raise NotFound()
    if numbers[0] == (None,):
        raise Conflict("The invoice is not issued yet; its document is made then.", code="INVOICE_NOT_ISSUED")
    return _of(Document.Kind.INVOICE, bucket, invoice_id)


def of_credit_note(*, merchant_id: uuid.UUID, credit_note_id: uuid.UUID) -> Document:
    """Return the document of a credit note; raises NotFound where there is none."""
    bucket = ids.bucket_of(credit_note_id)
    if not CreditNote.objects.filter(bucket=bucket, id=credit_note_id, merchant_id=merchant_id).exists():
        raise NotFound()
    return _of(Document.Kind.CREDIT_NOTE, bucket, credit_note_id)


def of_subscription(*, subscription: Subscription, invoice_id: uuid.UUID) -> Document:
    """Return the document of an issued invoice of a subscription; raises NotFound and Conflict as ``of_invoice``."""
    if not Invoice.objects.filter(bucket=subscription.bucket, id=invoice_id, subscription_id=subscription.id).exists():
        raise NotFound()
    return of_invoice(merchant_id=subscription.merchant_id, invoice_id=invoice_id)


def credit_note_of_subscription(*, subscription: Subscription, credit_note_id: uuid.UUID) -> Document:
    """Return the document of a credit note of a subscription's invoice; raises NotFound where there is none."""
    bucket = subscription.bucket
    invoices = Invoice.objects.filter(
        bucket=bucket, subscription_id=subscription.id, merchant_id=subscription.merchant_id
    )
    if not CreditNote.objects.filter(bucket=bucket, id=credit_note_id, invoice_id__in=invoices.values("id")).exists():
        raise NotFound()
    return _of(Document.Kind.CREDIT_NOTE, bucket, credit_note_id)


def _of(kind: Document.Kind, bucket: int, subject_id: uuid.UUID) -> Document:
    document = Document.objects.filter(bucket=bucket, subject_id=subject_id, kind=kind).first()
    if document is None:
        raise NotFound()
    return document


def freeze_missing(*, limit: int) -> int:
    """Freeze invoices that were issued before documents were kept, as they read now; return how many there were."""
    frozen = Document.objects.filter(bucket=OuterRef("bucket"), subject_id=OuterRef("id"), kind=Document.Kind.INVOICE)
    missing = Invoice.objects.filter(~Exists(frozen), number__isnull=False)
    done = 0
    for bucket, customer_id, invoice_id in list(missing.values_list("bucket", "customer_id", "id")[:limit]):
        with transaction.atomic():
            books.lock(bucket, customer_id)
            invoice = missing.filter(bucket=bucket, id=invoice_id).first()
            if invoice is not None and invoice.issued_at is not None:
                freeze(invoice, invoice.issued_at)
                done += 1
    return done
