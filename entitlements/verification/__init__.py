"""What must always be true of reservations, budgets, entitlements and grants."""

from entitlements.verification import grants, reservations

CHECKS = (*reservations.CHECKS, *grants.CHECKS)
