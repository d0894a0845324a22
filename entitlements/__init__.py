"""What may be used next.

Owns: reservations (funds held for later capture) and how they are read; budgets (limits on what may be spent).
Never: moves money; only the charging engine holds, captures and releases.
Holds: granted = captured + released + held; a reservation, once granted, is good for its amount.
"""
