"""What may be used next: reservations, budgets, features with their entitlements and grants, and what was refused."""

from entitlements.models.budgets import Budget, BudgetCounter
from entitlements.models.features import Entitlement, Feature, Grant, GrantPurchase, Movement
from entitlements.models.refusals import Refusal
from entitlements.models.reservations import Reservation

__all__ = [
    "Budget",
    "BudgetCounter",
    "Entitlement",
    "Feature",
    "Grant",
    "GrantPurchase",
    "Movement",
    "Refusal",
    "Reservation",
]
