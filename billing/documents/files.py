"""The files of documents: made by a worker soon after the document is frozen, kept, and handed out.

A queue row says that a document's files are not made yet. Whoever makes them does it in one transaction that holds
that row and nothing else: a crash leaves it there, and two makers never work on one document.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import OperationalError, transaction

from billing.documents import canonical, einvoice, rendering
from billing.models import Document, DocumentFile, Logo, UnprintedDocument
from merchants.errors import Conflict, Unavailable

logger = logging.getLogger(__name__)

DOCUMENTS_PER_PASS = 5_000
LINES_AT_ONCE_MAX = 500  # more are laid out by the worker alone: it takes a millisecond and a half a line
FAILED_SECONDS = 600
FAILURE_LENGTH_MAX = 500


def make_due(*, now: datetime, limit: int = DOCUMENTS_PER_PASS, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Make the files of documents that wait for them, the longest waiting first, and return how many were made.

    One that cannot be made is logged, and tried again later; it does not keep the others waiting.
    """
    made = 0
    for _ in range(limit):
        if is_time_up() or not (taken := _make_next(now)):
            break
        made += taken
    return made


def _make_next(now: datetime) -> int:
    with transaction.atomic():
        waiting = UnprintedDocument.objects.filter(since__lte=now).order_by("since").select_for_update(skip_locked=True)
        row = waiting.first()
        if row is None:
            return 0
        document = Document.objects.get(bucket=row.bucket, id=row.document_id)
        try:
            made = _make(document, now)
        except OperationalError:
            raise  # a lost connection: the next pass finds everything as it was
        except Exception as error:  # whatever is wrong with one must not keep the others from being made
            logger.exception("document %s %s cannot be made", document.kind, document.number)
            row.since, row.failure = now + timedelta(seconds=FAILED_SECONDS), str(error)[:FAILURE_LENGTH_MAX]
            row.save(update_fields=["since", "failure"])
            return 1
        DocumentFile.objects.bulk_create([made], ignore_conflicts=True)
        row.delete()
    return 1


def _make(document: Document, now: datetime) -> DocumentFile:
    says = canonical.read(document.content)
    logo_digest = says["seller"]["logo"]
    logo = None
    if logo_digest:
        found = Logo.objects.get(merchant_id=document.merchant_id, digest=bytes.fromhex(logo_digest))
        logo = bytes(found.png)
    xml = "" if einvoice.lacks(says) else einvoice.xml(says)
    pdf = rendering.pdf(says, logo=logo, einvoice=xml)
    return DocumentFile(
        bucket=document.bucket,
        document_id=document.id,
        customer_id=document.customer_id,
        pdf=pdf,
        digest=hashlib.sha256(pdf).digest(),
        xml=xml,
        created_at=now,
    )


def of(document: Document, now: datetime) -> DocumentFile:
    """Return a document's files; where the worker has not made them yet, make them now.

    Raises:
        Unavailable: it is a long document, which the worker is about to make.
    """
    found = _kept(document)
    if found is not None:
        return found
    if len(canonical.read(document.content)["lines"]) > LINES_AT_ONCE_MAX:
        raise Unavailable("The document is long, and being made; try again in a moment.")
    DocumentFile.objects.bulk_create([_make(document, now)], ignore_conflicts=True)
    UnprintedDocument.objects.filter(bucket=document.bucket, document_id=document.id).delete()
    kept = _kept(document)
    if kept is None:
        raise Unavailable()
    return kept


def xml_of(document: Document, now: datetime) -> str:
    """Return a document as an e-invoice; raises Conflict, which names what it lacks, where it cannot be one."""
    missing = einvoice.lacks(canonical.read(document.content))
    if missing:
        raise Conflict(f"It is no e-invoice: it lacks {', '.join(missing)}.", code="EINVOICE_INCOMPLETE")
    return of(document, now).xml


def _kept(document: Document) -> DocumentFile | None:
    return DocumentFile.objects.filter(bucket=document.bucket, document_id=document.id).first()


def name_of(document: Document, slug: str, extension: str) -> str:
    """Name a file after the merchant and the number, in letters, digits and hyphens: ``judgebox-inv-000001.pdf``."""
    number = "".join(char if char.isascii() and char.isalnum() else "-" for char in document.number.lower())
    return f"{slug}-{number}.{extension}"
