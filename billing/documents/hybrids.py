"""Hybrid invoices: what a PDF must say of itself for its embedded XML to be found (Factur-X 1.07, ZUGFeRD 2.3). Pure.

Typst embeds the XML and names its relation to the pages; the four properties of Factur-X, and the description of them
that PDF/A asks for, are not among the metadata it can write.
"""

import io

SPACE = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
PROPERTIES = {
    "DocumentType": ("INVOICE", "The kind of document that is embedded"),
    "DocumentFileName": ("factur-x.xml", "The name of the embedded file"),
    "Version": ("1.0", "The version of the schema"),
    "ConformanceLevel": ("EN 16931", "The profile of the embedded document"),
}
_BAG = b"<pdfaExtension:schemas><rdf:Bag>"
_END = b"</rdf:RDF>"


class NoRoom(Exception):
    """The PDF's metadata is not laid out as expected, so nothing can be added to it."""


def declared(pdf: bytes) -> bytes:
    """Return a PDF with an embedded invoice with metadata that says so; the same bytes for the same PDF.

    Raises:
        NoRoom: its metadata is not as typst writes it.
    """
    import pikepdf  # here, since few processes ever need it

    with pikepdf.open(io.BytesIO(pdf)) as opened:
        metadata = opened.Root.Metadata.read_bytes()
        if metadata.count(_BAG) != 1 or metadata.count(_END) != 1:
            raise NoRoom("the metadata has no list of extension schemas")
        metadata = metadata.replace(_BAG, _BAG + _schema().encode()).replace(_END, _values().encode() + _END)
        opened.Root.Metadata = opened.make_stream(
            metadata, {"/Type": pikepdf.Name.Metadata, "/Subtype": pikepdf.Name.XML}
        )
        written = io.BytesIO()
        opened.save(written, deterministic_id=True, fix_metadata_version=False, compress_streams=False)
    return written.getvalue()


def _values() -> str:
    values = "".join([f"<fx:{name}>{value}</fx:{name}>" for name, (value, _) in PROPERTIES.items()])
    return f'<rdf:Description rdf:about="" xmlns:fx="{SPACE}">{values}</rdf:Description>'


def _schema() -> str:
    properties = "".join(
        [
            '<rdf:li rdf:parseType="Resource">'
            f"<pdfaProperty:name>{name}</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType>"
            "<pdfaProperty:category>external</pdfaProperty:category>"
            f"<pdfaProperty:description>{says}</pdfaProperty:description></rdf:li>"
            for name, (_, says) in PROPERTIES.items()
        ]
    )
    return (
        '<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X</pdfaSchema:schema>'
        f"<pdfaSchema:namespaceURI>{SPACE}</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix>"
        f"<pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property></rdf:li>"
    )
