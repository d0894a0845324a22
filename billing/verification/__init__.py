"""What must be true of charges, wallets, the ledger and invoices at every instant."""

from billing.verification import charges, invoices, ledger, recomputation, wallets

CHECKS = (*charges.CHECKS, *recomputation.CHECKS, *wallets.CHECKS, *ledger.CHECKS, *invoices.CHECKS)
