"""Documents over HTTP: an issued invoice as PDF, and as structured data for those who book it by machine."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from billing import documents
from billing.documents import files
from billing.models import Document, DocumentFile, Invoice
from merchants import ids
from merchants.models import Merchant
from merchants.tenancy import TenantView

PDF = "application/pdf"


def pdf_url(invoice: Invoice) -> str | None:
    """Tell where an invoice's PDF is; None before it is issued."""
    return f"{settings.PUBLIC_URL}/v2/invoices/{ids.text('inv', invoice.id)}/pdf" if invoice.number else None


class _InvoiceFile(TenantView):
    scope = "invoices"
    also_refuses = (409,)

    def _file(self, id: str) -> tuple[Document, DocumentFile]:
        document = documents.of_invoice(merchant_id=self.merchant_id, invoice_id=self.path_id("inv", id))
        return document, files.of(document, self.now)

    def _answer(self, document: Document, content: Any, media_type: str, extension: str) -> HttpResponse:
        slug = Merchant.objects.values_list("organization__slug", flat=True).get(id=self.merchant_id)
        name = files.name_of(document, slug, extension)
        return HttpResponse(
            content, content_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )


class InvoicePdf(_InvoiceFile):
    @extend_schema(operation_id="getInvoicePdf", responses={(200, PDF): OpenApiTypes.BINARY})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Download an issued invoice as PDF. It is the same file, to the byte, each time."""
        document, file = self._file(id)
        return self._answer(document, bytes(file.pdf), PDF, "pdf")


urlpatterns = [path("invoices/<str:id>/pdf", InvoicePdf.as_view())]
