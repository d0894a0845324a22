"""Documents: who sells as they print it, what each document says, and the files made of it."""

from django.db import models

from customers.models import Owned
from merchants.models import Merchant
from merchants.tables import TableClass


class Seller(models.Model):
    """What a merchant's documents say of the merchant. Changes show on documents to come, never on those made."""

    table_class = TableClass.REFERENCE

    merchant = models.OneToOneField(Merchant, on_delete=models.PROTECT, primary_key=True, related_name="seller")
    legal_name = models.CharField(max_length=200, blank=True)  # empty: the organization's name
    address = models.JSONField(default=dict)
    email = models.EmailField(blank=True)
    website = models.CharField(max_length=200, blank=True)
    vat_id = models.CharField(max_length=20, blank=True)  # with its country's prefix, without spaces
    tax_number = models.CharField(max_length=40, blank=True)  # of the local tax office
    registration = models.CharField(max_length=80, blank=True)  # in a register of companies
    accent = models.CharField(max_length=7, default="#4b4acf")
    logo_digest = models.BinaryField(max_length=32, null=True)
    # Where customers pay by transfer; an account that is no IBAN belongs to a bank whose code is no BIC.
    account_holder = models.CharField(max_length=100, blank=True)  # empty: the legal name
    bank_name = models.CharField(max_length=100, blank=True)
    bank_account = models.CharField(max_length=40, blank=True)  # an IBAN without spaces, or as it is written
    bank_code = models.CharField(max_length=20, blank=True)  # a BIC, or a routing number
    footer = models.CharField(max_length=500, blank=True)
    payment_terms = models.CharField(max_length=500, blank=True)
    payment_days = models.PositiveSmallIntegerField(default=14)  # for invoices without a due date of their own
    default_tax_rate = models.DecimalField(max_digits=7, decimal_places=4, default=0)  # percent, of plans to come
    number_prefix = models.CharField(max_length=20, default="INV-")
    number_digits = models.PositiveSmallIntegerField(default=6)
    credit_note_prefix = models.CharField(max_length=20, default="CN-")
    # While customers' taxes are assessed anew: the last one done, in the order of their ids; null before the first.
    is_assessing = models.BooleanField(default=False)
    assessed_to = models.UUIDField(null=True)
    updated_at = models.DateTimeField()


class Logo(models.Model):
    """A logo that documents were made with, by its SHA-256. Append-only: documents name it for ever."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "digest")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    digest = models.BinaryField(max_length=32)
    png = models.BinaryField()
    created_at = models.DateTimeField()


class Document(Owned):
    """Everything that one issued document shows, as canonical JSON with its SHA-256. Append-only.

    The text is not jsonb: the digest is of its bytes. PDF and XML are made of it and of nothing else.
    """

    class Kind(models.TextChoices):
        INVOICE = "invoice"
        CREDIT_NOTE = "credit_note"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    kind = models.CharField(max_length=11, choices=Kind)
    subject_id = models.UUIDField()  # the invoice, or the credit note
    number = models.CharField(max_length=40)
    content = models.TextField()
    digest = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "subject_id", "kind"], name="one_document_per_subject")
        ]


class DocumentFile(Owned):
    """The PDF and the XML of a document, kept as they were first made. Append-only.

    They could be made again, but not to the byte by every later version of what makes them.
    """

    pk = models.CompositePrimaryKey("bucket", "document_id")
    document_id = models.UUIDField()
    pdf = models.BinaryField()
    digest = models.BinaryField(max_length=32)  # of the PDF
    xml = models.TextField(blank=True)  # the e-invoice; empty where the document cannot be one
    created_at = models.DateTimeField()


class UnprintedDocument(models.Model):
    """Queue of documents whose PDF is not made yet."""

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "document_id")
    bucket = models.SmallIntegerField()
    document_id = models.UUIDField()
    since = models.DateTimeField()
    failure = models.CharField(max_length=500, blank=True)  # why it could not be made; it is tried again later

    class Meta:
        indexes = [models.Index(fields=["since"], name="unprinted_since")]
