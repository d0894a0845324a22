"""Every table of billing, one import away."""

from billing.models.catalogue import Fee, PaymentTerm, Plan, PlanVersion, PlanVersionPrice, Price, PriceVersion
from billing.models.charges import Charge, Counter, FeeOccurrence, Refund, Rerating, TrueUp
from billing.models.checkout import Authorization, LinkOrder, Payment, PaymentClaim, PaymentLink, PaymentSession
from billing.models.collection import InvoicePayment
from billing.models.coupons import Coupon, CouponClaim, CouponUse, Redemption
from billing.models.credit_notes import CreditNote, CreditNoteLine, CreditNoteNumber
from billing.models.documents import Document, DocumentFile, Logo, Seller, UnprintedDocument
from billing.models.invoices import Invoice, InvoiceLine, InvoiceNumber, InvoiceRollup, ManualLine
from billing.models.ledger import Account, CustomerRollup, Entry, MerchantRollup, Posting, Settlement, UnsettledWallet
from billing.models.payments import (
    AttemptStep,
    PaymentAttempt,
    PaymentDispute,
    PaymentMethod,
    PaymentRefund,
    ProviderAccount,
    ProviderCode,
    ProviderCustomer,
    ProviderEvent,
    SimulatedDelivery,
    SimulatedObject,
)
from billing.models.subscriptions import Subscription
from billing.models.wallets import CreditLot, LotDraw, LotRemoval, TopUp, Wallet

__all__ = [
    "Account",
    "AttemptStep",
    "Authorization",
    "Charge",
    "Counter",
    "Coupon",
    "CouponClaim",
    "CouponUse",
    "CreditLot",
    "CreditNote",
    "CreditNoteLine",
    "CreditNoteNumber",
    "CustomerRollup",
    "Document",
    "DocumentFile",
    "Entry",
    "Fee",
    "FeeOccurrence",
    "Invoice",
    "InvoiceLine",
    "InvoiceNumber",
    "InvoicePayment",
    "InvoiceRollup",
    "LinkOrder",
    "Logo",
    "LotDraw",
    "LotRemoval",
    "ManualLine",
    "MerchantRollup",
    "Payment",
    "PaymentAttempt",
    "PaymentClaim",
    "PaymentDispute",
    "PaymentLink",
    "PaymentMethod",
    "PaymentRefund",
    "PaymentSession",
    "PaymentTerm",
    "Plan",
    "PlanVersion",
    "PlanVersionPrice",
    "Posting",
    "Price",
    "PriceVersion",
    "ProviderAccount",
    "ProviderCode",
    "ProviderCustomer",
    "ProviderEvent",
    "Redemption",
    "Refund",
    "Rerating",
    "Seller",
    "Settlement",
    "SimulatedDelivery",
    "SimulatedObject",
    "Subscription",
    "TopUp",
    "TrueUp",
    "UnprintedDocument",
    "UnsettledWallet",
    "Wallet",
]
