"""A document as structured data: UN/CEFACT Cross Industry Invoice of the profile EN 16931 (Factur-X, ZUGFeRD 2). Pure.

It is made of what the document says and nothing else. BT-… are the business terms of EN 16931-1.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

from billing import money
from billing.documents.glyphs import plain
from billing.taxes import Category

PROFILE = "urn:cen.eu:en16931:2017"
FILE_NAME = "factur-x.xml"
DECIMALS_MAX = 2  # of amounts, by the standard
TYPES = {"invoice": "380", "credit_note": "381"}  # UNTDID 1001
CODES = {Category.REVERSE_CHARGE: "VATEX-EU-AE", Category.EXPORT: "VATEX-EU-G", Category.OUTSIDE: "VATEX-EU-O"}
_SPACES = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
}
# UN/ECE recommendation 20; whatever is not there is counted in pieces.
_PIECE = "C62"
_TRANSFER = "30"  # UNTDID 4461: a credit transfer
_UNITS = {
    "ms": "C26", "millisecond": "C26", "s": "SEC", "sec": "SEC", "second": "SEC", "minute": "MIN", "min": "MIN",
    "hour": "HUR", "h": "HUR", "day": "DAY", "week": "WEE", "month": "MON", "year": "ANN", "byte": "AD", "kb": "2P",
    "mb": "4L", "gb": "E34", "tb": "E35", "kwh": "KWH", "km": "KMT", "m": "MTR", "kg": "KGM", "g": "GRM", "l": "LTR",
}  # fmt: skip

_Node = tuple[str, Any, Mapping[str, str]]


def lacks(document: Mapping[str, Any]) -> list[str]:
    """Say what keeps a document from being an e-invoice; nothing where it is one."""
    seller, buyer = document["seller"], document["buyer"]
    categories = {each["category"] for each in document["taxes"]}
    wanted = {
        "a line": bool(document["lines"]),
        "the seller's country": "country" in seller["address"],
        "the customer's country": "country" in buyer["address"],
        "the seller's tax number or VAT id, since tax is charged": bool(seller["vatId"] or seller["taxNumber"])
        or categories <= {Category.OUTSIDE},
        "the seller's VAT id": bool(seller["vatId"]) or not categories & {Category.REVERSE_CHARGE, Category.EXPORT},
        "the customer's VAT id": bool(buyer["vatId"]) or Category.REVERSE_CHARGE not in categories,
        "a currency of at most two decimals": money.EXPONENTS[document["currency"]] <= DECIMALS_MAX,
    }
    return [what for what, is_there in wanted.items() if not is_there]


def xml(document: Mapping[str, Any]) -> str:
    """Write a document that lacks nothing as XML."""
    return ET.tostring(
        _element(_invoice(document)), encoding="unicode", xml_declaration=False, short_empty_elements=True
    )


# --- the tree --------------------------------------------------------------------------------------------


def _n(name: str, content: Any, **attributes: str) -> _Node:
    """A node: its name with prefix, and its text or children; children that are None are left out."""
    return name, content, attributes


def _element(node: _Node) -> ET.Element:
    name, content, attributes = node
    prefix, _, local = name.partition(":")
    made = ET.Element(f"{{{_SPACES[prefix]}}}{local}", dict(attributes))
    if isinstance(content, list):
        made.extend([_element(child) for child in content if child is not None])
    else:
        made.text = plain(str(content))
    return made


for _prefix, _space in _SPACES.items():
    ET.register_namespace(_prefix, _space)


def _given(name: str, text: str, **attributes: str) -> _Node | None:
    return _n(name, text, **attributes) if text else None


def _date(name: str, text: str, space: str = "udt") -> _Node:
    return _n(name, [_n(f"{space}:DateTimeString", f"{date.fromisoformat(text):%Y%m%d}", format="102")])


# --- the document ----------------------------------------------------------------------------------------


def _invoice(document: Mapping[str, Any]) -> _Node:
    context = _n("ram:GuidelineSpecifiedDocumentContextParameter", [_n("ram:ID", PROFILE)])
    head = [
        _n("ram:ID", document["number"]),  # BT-1
        _n("ram:TypeCode", TYPES[document["kind"]]),  # BT-3
        _date("ram:IssueDateTime", document["issueDate"]),  # BT-2
        *[_n("ram:IncludedNote", [_n("ram:Content", note)]) for note in document["notes"]],  # BT-22
    ]
    delivered = _date("ram:OccurrenceDateTime", document["period"]["lastDay"])  # BT-72
    trade = [
        *[_line(place, line, document) for place, line in enumerate(document["lines"], start=1)],
        _n("ram:ApplicableHeaderTradeAgreement", _parties(document)),
        _n("ram:ApplicableHeaderTradeDelivery", [_n("ram:ActualDeliverySupplyChainEvent", [delivered])]),
        _n("ram:ApplicableHeaderTradeSettlement", _settlement(document)),
    ]
    return _n(
        "rsm:CrossIndustryInvoice",
        [
            _n("rsm:ExchangedDocumentContext", [context]),
            _n("rsm:ExchangedDocument", head),
            _n("rsm:SupplyChainTradeTransaction", trade),
        ],
    )


def _line(place: int, line: Mapping[str, Any], document: Mapping[str, Any]) -> _Node:
    quantity, price, per = _priced(line)
    unit = _UNITS.get(line["unit"].lower(), _PIECE)
    agreement = [_n("ram:ChargeAmount", price)]  # BT-146
    if per is not None:
        agreement.append(_n("ram:BasisQuantity", per, unitCode=unit))  # BT-149
    settlement = [
        _n("ram:ApplicableTradeTax", [_n("ram:TypeCode", "VAT"), *_rate(line["taxCategory"], line["taxRate"])]),
        _n(
            "ram:SpecifiedTradeSettlementLineMonetarySummation",
            [_n("ram:LineTotalAmount", line["net"])],  # BT-131
        ),
    ]
    return _n(
        "ram:IncludedSupplyChainTradeLineItem",
        [
            _n("ram:AssociatedDocumentLineDocument", [_n("ram:LineID", place)]),  # BT-126
            _n(
                "ram:SpecifiedTradeProduct",
                [_n("ram:Name", line["name"]), _given("ram:Description", _described(line))],  # BT-153, BT-154
            ),
            _n("ram:SpecifiedLineTradeAgreement", [_n("ram:NetPriceProductTradePrice", agreement)]),
            _n("ram:SpecifiedLineTradeDelivery", [_n("ram:BilledQuantity", quantity, unitCode=unit)]),  # BT-129
            _n("ram:SpecifiedLineTradeSettlement", settlement),
        ],
    )


def _described(line: Mapping[str, Any]) -> str:
    return ". ".join([*filter(None, [line["says"]]), *line.get("details", [])])


def _priced(line: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Say a line's quantity, its price, and for how many that price is; None: for one.

    Prices are never below zero here: a credit is a negative quantity. What is not so much for each is one price for the
    whole quantity.
    """
    net, counted = Decimal(line["net"]), line["quantity"]
    if counted is not None and Decimal(counted):
        quantity = Decimal(counted)
        if line["unitPrice"] is not None and Decimal(line["unitPrice"]) >= 0:
            return counted, line["unitPrice"], None
        if net * quantity >= 0:
            return counted, f"{abs(net):f}", f"{abs(quantity):f}"
    return "-1" if net < 0 else "1", f"{abs(net):f}", None


def _rate(category: str, rate: str) -> list[_Node | None]:
    return [
        _n("ram:CategoryCode", category),  # BT-118, BT-151
        None if category == Category.OUTSIDE else _n("ram:RateApplicablePercent", rate),  # BT-119, BT-152
    ]


# --- who -------------------------------------------------------------------------------------------------


def _parties(document: Mapping[str, Any]) -> list[_Node]:
    is_outside = any(each["category"] == Category.OUTSIDE for each in document["taxes"])
    seller, buyer = document["seller"], document["buyer"]
    registered = [
        _n("ram:SpecifiedTaxRegistration", [_n("ram:ID", number, schemeID=scheme)])
        for number, scheme in ((seller["taxNumber"], "FC"), (seller["vatId"], "VA"))  # BT-32, BT-31
        if number and not is_outside
    ]
    vat_id = [
        _n("ram:SpecifiedTaxRegistration", [_n("ram:ID", buyer["vatId"], schemeID="VA")])  # BT-48
        for _ in range(bool(buyer["vatId"]) and not is_outside)
    ]
    return [
        _n("ram:SellerTradeParty", [*_party(seller, seller["registration"]), *registered]),
        _n("ram:BuyerTradeParty", [*_party(buyer, ""), *vat_id]),
    ]


def _party(party: Mapping[str, Any], registration: str) -> list[_Node | None]:
    address, email = party["address"], party["email"]
    place = [
        _given("ram:PostcodeCode", address.get("zipCode", "")),
        _given("ram:LineOne", address.get("line1", "")),
        _given("ram:LineTwo", address.get("line2", "")),
        _given("ram:CityName", address.get("city", "")),
        _n("ram:CountryID", address["country"]),  # BT-40, BT-55
        _given("ram:CountrySubDivisionName", address.get("state", "")),
    ]
    legal = _n("ram:SpecifiedLegalOrganization", [_n("ram:ID", registration)]) if registration else None  # BT-30
    reached = _n("ram:URIUniversalCommunication", [_n("ram:URIID", email, schemeID="EM")]) if email else None  # BT-34
    known_as = _n("ram:ID", party["id"])  # BT-29, BT-46
    return [known_as, _n("ram:Name", party["name"]), legal, _n("ram:PostalTradeAddress", place), reached]


# --- how much --------------------------------------------------------------------------------------------


def _settlement(document: Mapping[str, Any]) -> list[_Node | None]:
    period, corrected = document["period"], document.get("corrects")
    dates = [_date("ram:StartDateTime", period["firstDay"]), _date("ram:EndDateTime", period["lastDay"])]
    terms = document["seller"]["paymentTerms"] or (
        "Payable by the due date" if document["dueDate"] else "Nothing to pay"
    )
    reference = [
        _n("ram:IssuerAssignedID", corrected["number"]),  # BT-25
        _date("ram:FormattedIssueDateTime", corrected["issueDate"], "qdt"),  # BT-26
    ] if corrected else []  # fmt: skip
    means = _payment_means(document)
    return [
        _n("ram:PaymentReference", document["number"]) if means else None,  # BT-83
        _n("ram:InvoiceCurrencyCode", document["currency"]),  # BT-5
        means,
        *_taxes(document["taxes"]),
        _n("ram:BillingSpecifiedPeriod", dates),  # BT-73, BT-74
        _n(
            "ram:SpecifiedTradePaymentTerms",
            [
                _n("ram:Description", terms),  # BT-20
                _date("ram:DueDateDateTime", document["dueDate"]) if document["dueDate"] else None,  # BT-9
            ],
        ),
        _n("ram:SpecifiedTradeSettlementHeaderMonetarySummation", _sums(document)),
        _n("ram:InvoiceReferencedDocument", reference) if reference else None,
    ]


def _payment_means(document: Mapping[str, Any]) -> _Node | None:
    """Say where to send what is due (BG-16); documents from before banks were stated have none."""
    bank = document["seller"].get("bank")
    if not bank or not document["dueDate"]:
        return None
    account = [
        _given("ram:IBANID", bank["iban"]),  # BT-84
        _n("ram:AccountName", bank["holder"]),  # BT-85
        None if bank["iban"] else _n("ram:ProprietaryID", bank["account"]),  # BT-84
    ]
    institution = [_n("ram:BICID", bank["bic"])] if bank["bic"] else []  # BT-86
    return _n(
        "ram:SpecifiedTradeSettlementPaymentMeans",
        [
            _n("ram:TypeCode", _TRANSFER),  # BT-81
            _n("ram:PayeePartyCreditorFinancialAccount", account),
            _n("ram:PayeeSpecifiedCreditorFinancialInstitution", institution) if institution else None,
        ],
    )


def _taxes(summary: Iterable[Mapping[str, Any]]) -> list[_Node]:
    found = []
    for each in summary:
        category, rate = _rate(each["category"], each["rate"])
        code = CODES.get(Category(each["category"]), "")
        found.append(
            _n(
                "ram:ApplicableTradeTax",
                [
                    _n("ram:CalculatedAmount", each["tax"]),  # BT-117
                    _n("ram:TypeCode", "VAT"),
                    _given("ram:ExemptionReason", each["reason"]),  # BT-120
                    _n("ram:BasisAmount", each["net"]),  # BT-116
                    category,
                    _given("ram:ExemptionReasonCode", code),  # BT-121
                    rate,
                ],
            )
        )
    return found


def _sums(document: Mapping[str, Any]) -> list[_Node | None]:
    """Total it: the rounding is between the total with tax and what is due, as the standard has it."""
    totals = document["totals"]
    net, tax = Decimal(totals["net"]), Decimal(totals["tax"])
    rounded = Decimal(totals["rounding"])
    return [
        _n("ram:LineTotalAmount", totals["net"]),  # BT-106
        _n("ram:TaxBasisTotalAmount", totals["net"]),  # BT-109
        _n("ram:TaxTotalAmount", totals["tax"], currencyID=document["currency"]),  # BT-110
        _n("ram:RoundingAmount", totals["rounding"]) if rounded else None,  # BT-114
        _n("ram:GrandTotalAmount", f"{net + tax:f}"),  # BT-112
        _n("ram:TotalPrepaidAmount", totals["paid"]),  # BT-113
        _n("ram:DuePayableAmount", totals["due"]),  # BT-115
    ]
