"""What each role of a team may do.

A permission reads like a key's scope, ``products:write``: the API and the dashboard ask the same question.
Writing includes reading.
"""

from collections.abc import Collection

RESOURCES = (
    "products",
    "billableMetrics",
    "fees",
    "prices",
    "plans",
    "features",
    "coupons",
    "customers",
    "subscriptions",
    "usage",
    "entitlements",
    "wallets",
    "budgets",
    "invoices",
    "payouts",
    "payments",
    "paymentLinks",
    "webhooks",
)
SETTINGS = ("organization", "members", "keys", "audit")

EVERYTHING = "*"
READ, WRITE = "read", "write"

SCOPES = frozenset(f"{resource}:{access}" for resource in RESOURCES for access in (READ, WRITE))
PERMISSIONS = SCOPES | {f"{resource}:{access}" for resource in SETTINGS for access in (READ, WRITE)}

# The reports of an analyst touch nothing; a developer builds, but neither hires nor opens doors in live mode.
ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({EVERYTHING}),
    "admin": frozenset(PERMISSIONS - {"organization:write"}),
    "developer": frozenset(SCOPES | {"keys:write", "organization:read", "members:read"}),
    "analyst": frozenset({f"{resource}:{READ}" for resource in RESOURCES} | {"organization:read"}),
}


def grants(held: Collection[str], permission: str) -> bool:
    """Tell whether the scopes or permissions that someone holds include one."""
    if EVERYTHING in held or permission in held:
        return True
    resource, _, access = permission.partition(":")
    return access == READ and f"{resource}:{WRITE}" in held


def may(role: str, permission: str) -> bool:
    """Tell whether a role of a team includes a permission."""
    return grants(ROLES.get(role, frozenset()), permission)
