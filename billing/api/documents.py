"""Documents over HTTP: issued invoices and credit notes as PDF, and as structured data for machines."""

from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from billing import documents
from billing.documents import files
from billing.models import Document, Invoice
from merchants import ids
from merchants.models import Merchant
from merchants.tenancy import TenantView

PDF = "application/pdf"
XML = "application/xml"


def pdf_url(invoice: Invoice) -> str | None:
    """Tell where an invoice's PDF is; None before it is issued."""
    return f"{settings.PUBLIC_URL}/v2/invoices/{ids.text('inv', invoice.id)}/pdf" if invoice.number else None


class _File(TenantView):
    scope = "invoices"
    also_refuses = (409,)

    def _invoice(self, id: str) -> Document:
        return documents.of_invoice(merchant_id=self.merchant_id, invoice_id=self.path_id("inv", id))

    def _credit_note(self, id: str) -> Document:
        return documents.of_credit_note(merchant_id=self.merchant_id, credit_note_id=self.path_id("cn", id))

    def _pdf(self, document: Document) -> HttpResponse:
        return self._attached(document, bytes(files.of(document, self.now).pdf), PDF, "pdf")

    def _xml(self, document: Document) -> HttpResponse:
        return self._attached(document, files.xml_of(document, self.now).encode(), XML, "xml")

    def _attached(self, document: Document, content: bytes, media_type: str, extension: str) -> HttpResponse:
        slug = Merchant.objects.values_list("organization__slug", flat=True).get(id=self.merchant_id)
        name = files.name_of(document, slug, extension)
        return HttpResponse(
            content, content_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )


class InvoicePdf(_File):
    @extend_schema(operation_id="getInvoicePdf", responses={(200, PDF): OpenApiTypes.BINARY})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Download an issued invoice as PDF. It is the same file, to the byte, each time."""
        return self._pdf(self._invoice(id))


class InvoiceXml(_File):
    @extend_schema(operation_id="getInvoiceXml", responses={(200, XML): OpenApiTypes.STR})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Download an issued invoice as e-invoice: the XML of EN 16931 (Factur-X, ZUGFeRD) that its PDF embeds.

        Where something is missing that the standard asks for, such as a country, it is a 409 `EINVOICE_INCOMPLETE`.
        """
        return self._xml(self._invoice(id))


class CreditNotePdf(_File):
    @extend_schema(operation_id="getCreditNotePdf", responses={(200, PDF): OpenApiTypes.BINARY})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Download a credit note as PDF. It is the same file, to the byte, each time."""
        return self._pdf(self._credit_note(id))


class CreditNoteXml(_File):
    @extend_schema(operation_id="getCreditNoteXml", responses={(200, XML): OpenApiTypes.STR})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Download a credit note as e-invoice: the XML of EN 16931 that its PDF embeds.

        Where something is missing that the standard asks for, such as a country, it is a 409 `EINVOICE_INCOMPLETE`.
        """
        return self._xml(self._credit_note(id))


urlpatterns = [
    path("invoices/<str:id>/pdf", InvoicePdf.as_view()),
    path("invoices/<str:id>/xml", InvoiceXml.as_view()),
    path("creditNotes/<str:id>/pdf", CreditNotePdf.as_view()),
    path("creditNotes/<str:id>/xml", CreditNoteXml.as_view()),
]
