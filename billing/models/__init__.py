"""Every table of billing, one import away."""

from billing.models.catalogue import Fee, PaymentTerm, Plan, PlanVersion, PlanVersionPrice, Price, PriceVersion
from billing.models.charges import Charge, Counter, Refund
from billing.models.invoices import Invoice, InvoiceLine, InvoiceNumber
from billing.models.ledger import Account, CustomerRollup, Entry, MerchantRollup, Posting, Settlement, UnsettledWallet
from billing.models.subscriptions import Subscription
from billing.models.wallets import CreditLot, LotDraw, TopUp, Wallet

__all__ = [
    "Account",
    "Charge",
    "Counter",
    "CreditLot",
    "CustomerRollup",
    "Entry",
    "Fee",
    "Invoice",
    "InvoiceLine",
    "InvoiceNumber",
    "LotDraw",
    "MerchantRollup",
    "PaymentTerm",
    "Plan",
    "PlanVersion",
    "PlanVersionPrice",
    "Posting",
    "Price",
    "PriceVersion",
    "Refund",
    "Settlement",
    "Subscription",
    "TopUp",
    "UnsettledWallet",
    "Wallet",
]
