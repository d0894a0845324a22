"""What was used.

Owns: billable metrics, usage events, billing-period arithmetic.
Never: knows a plan, a price or an amount.
Holds: an event is written once, with its key and fingerprint, and is never changed.
"""
