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

# Who sells, and where customers send money: a key for everything may read that, only one that names it may write it.
BY_NAME = "organization:write"
KEY_SCOPES = SCOPES | {"organization:read", BY_NAME}

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


def allows(scopes: Collection[str], permission: str) -> bool:
    """Tell whether a key of these scopes may do something."""
    return permission in scopes if permission == BY_NAME else grants(scopes, permission)


def may_make(held: Collection[str], scopes: Collection[str]) -> bool:
    """Tell whether someone who holds these permissions may make a key of these scopes: it may do no more than they."""
    wanted = SCOPES | set(scopes) - {EVERYTHING} if EVERYTHING in scopes else scopes
    return all(grants(held, scope) for scope in wanted)


def may(role: str, permission: str) -> bool:
    """Tell whether a role of a team includes a permission."""
    return grants(ROLES.get(role, frozenset()), permission)
