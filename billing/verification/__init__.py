"""What must be true of charges, wallets, the ledger and invoices at every instant."""

from billing.verification import (
    catalogue,
    charges,
    checkout,
    coupons,
    documents,
    invoices,
    ledger,
    payments,
    payouts,
    receivables,
    recomputation,
    rerating,
    rollouts,
    wallets,
)

CHECKS = (
    *catalogue.CHECKS,
    *charges.CHECKS,
    *recomputation.CHECKS,
    *rerating.CHECKS,
    *rollouts.CHECKS,
    *wallets.CHECKS,
    *ledger.CHECKS,
    *invoices.CHECKS,
    *receivables.CHECKS,
    *coupons.CHECKS,
    *checkout.CHECKS,
    *documents.CHECKS,
    *payments.CHECKS,
    *payouts.CHECKS,
)
