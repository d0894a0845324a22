"""The PDF of a document: the same bytes for the same data, archivable, and proof against whatever names say."""

import io
from typing import Any

import pikepdf
import pytest

from billing.documents import codes, glyphs, printing, rendering, words
from tests.billing.papers import paper

CLAIMED = [("pdfa", "part"), ("pdfa", "conformance"), ("pdfua", "part")]


def opened(document: dict[str, Any], **options: Any) -> pikepdf.Pdf:
    return pikepdf.open(io.BytesIO(rendering.pdf(document, **options)))


def alternatives(pdf: pikepdf.Pdf) -> list[str]:
    """What is read aloud in place of pictures."""
    found = [each.get("/Alt") for each in pdf.objects if isinstance(each, pikepdf.Dictionary)]
    return [str(text) for text in found if text is not None]


class TestPdf:
    def test_is_the_same_to_the_byte(self):
        assert rendering.pdf(paper()) == rendering.pdf(paper())
        assert rendering.pdf(paper()) != rendering.pdf(paper(number="INV-2042"))

    def test_is_archivable_and_tagged(self):
        with opened(paper()) as pdf, pdf.open_metadata() as xmp:
            claims = [xmp[f"{{http://www.aiim.org/{of}/ns/id/}}{name}"] for of, name in CLAIMED]
            assert claims == ["3", "A", "1"]
            assert pdf.Root.MarkInfo.Marked
            assert "/StructTreeRoot" in pdf.Root
            assert str(pdf.Root.Lang) == "en"

    def test_leads_to_where_it_can_be_paid_if_it_can(self):
        where = "https://pay.example/portal/invoice/AZqk.sig-1_"
        for payment, found in (({"url": where}, [where]), (None, [])):
            with opened(paper(payment=payment)) as pdf:
                links = [str(note.A.URI) for note in pdf.pages[0].get("/Annots", []) if note.get("/Subtype") == "/Link"]
                assert links == found
                assert ("Pay $856.44 online (QR code)" in alternatives(pdf)) is bool(found)

    @pytest.mark.parametrize(("lines", "pages"), [(0, 1), (5, 1), (60, 3)])
    def test_takes_as_many_pages_as_it_needs(self, lines, pages):
        with opened(paper(lines=[{}] * lines)) as pdf:
            assert len(pdf.pages) == pages

    @pytest.mark.parametrize(
        "name",
        [
            '#eval("1") #read("/etc/passwd") *bold* _it_ $x$ `raw` @ref <label> \\ //',
            "שלום בע״מ مرحبا بالعالم",
            "株式会社ノースウィンド 한국전자 บริษัท हिन्दी",
            "Ærøskøbing Ğ Ω Київ 😀 \u200d\ufe0f\x00\x1b \ue000",
            "x" * 200,
            "<script>alert(1)</script> {{7*7}} javascript:alert(1)",
        ],
    )
    def test_prints_whatever_a_name_is_as_text(self, name):
        buyer = paper()["buyer"] | {"name": name, "addressLines": [name]}
        with opened(paper(buyer=buyer, lines=[{"name": name, "says": name, "unit": name}])) as pdf:
            assert len(pdf.pages) == 1


class TestPrintable:
    def test_leaves_what_fonts_have(self):
        assert glyphs.printable("Zürich, Київ 株 שלום") == "Zürich, Київ 株 שלום"

    def test_puts_a_box_for_what_they_have_not(self):
        assert glyphs.printable("a😀b\x00\u202e\ufe0f") == "a□b"

    def test_lets_long_words_break(self):
        assert glyphs.printable("x" * 30) == "\u200b".join("x" * 30)


class TestWords:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (words.amount("1056.44", "USD"), "$1,056.44"),
            (words.amount("-200.00", "EUR"), "−€200.00"),
            (words.amount("1200", "JPY"), "¥1,200"),
            (words.amount("1.500", "KWD"), "KWD\u00a01.500"),
            (words.price("0.00035", "USD"), "$0.00035"),
            (words.price("10", "USD"), "$10.00"),
            (words.number("1988195"), "1,988,195"),
            (words.number("0.250"), "0.25"),
            (words.days("2026-10-01", "2026-10-31"), "1–31 Oct 2026"),
            (words.days("2026-10-15", "2026-11-14"), "15 Oct – 14 Nov 2026"),
            (words.days("2025-12-15", "2026-01-14"), "15 Dec 2025 – 14 Jan 2026"),
            (words.day("2026-11-15"), "15 November 2026"),
        ],
    )
    def test_say(self, said, expected):
        assert said == expected


class TestCodes:
    def test_are_drawn_with_their_quiet_zone_and_nothing_from_elsewhere(self):
        drawn = codes.svg("https://pay.example/portal/invoice/AZqk.sig-1_")
        assert drawn == codes.svg("https://pay.example/portal/invoice/AZqk.sig-1_")
        assert 'viewBox="0 0 41 41"' in drawn  # 33 modules, and four of nothing on each side
        assert "href" not in drawn


class TestPages:
    def test_head_with_what_is_due(self):
        assert printing.pages(paper())["headline"] == "$856.44 due 15 November 2026"

    def test_head_with_what_was_paid(self):
        totals = paper()["totals"] | {"paid": "1056.44", "due": "0.00"}
        assert printing.pages(paper(totals=totals, dueDate=None))["headline"] == "$1,056.44 paid"

    @pytest.mark.parametrize(
        ("start", "said"),
        [
            ("2026-10-01T00:00:00+00:00", []),
            ("2026-10-15T12:00:00+00:00", []),
            ("2026-09-01T00:00:00+00:00", ["For the period from 1 Sep 2026"]),
            ("2026-11-01T00:00:00+00:00", ["For the period from 1 Nov 2026"]),
            ("2026-11-01T09:30:00+00:00", ["For the period from 1 Nov 2026, 09:30"]),
        ],
    )
    def test_say_of_lines_of_another_period_which_it_is(self, start, said):
        [line, *_] = paper()["lines"]
        [printed] = printing.pages(paper(lines=[line | {"periodStart": start, "says": ""}]))["lines"]
        assert printed["says"] == said

    def test_say_the_hours_of_a_period_that_begins_within_a_day(self):
        period = paper()["period"] | {"start": "2026-10-01T09:00:00+00:00", "end": "2026-11-01T09:00:00+00:00"}
        facts = printing.pages(paper(period=period, timezone="Europe/Berlin"))["facts"]
        assert ["From", "1 Oct 2026, 11:00"] in facts
        assert ["To", "1 Nov 2026, 10:00"] in facts
        assert ["Time zone", "Europe/Berlin"] in facts
