"""What may be used next.

Owns: reservations (funds held for later capture) and how they are read; budgets (limits on what may be spent);
features, who is entitled to them, and grants of their use.
Never: moves money; only the charging engine holds, captures and releases, and burns what is granted.
Holds: granted = captured + released + held; a reservation, once granted, is good for its amount. What an entitlement's
grants have left is its movements, carried out one after the other.
"""
