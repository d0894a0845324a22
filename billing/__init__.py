"""What it costs and who owes.

Owns: fees, prices, plans, subscriptions, rating, wallets, charges, the ledger, settlement, invoices.
Never: decides what may be used (entitlements) or records what was used (metering, charging).
Holds: a posting is a transfer and nothing posted changes; rate the total, charge the difference;
       settled ranges tile each wallet's charges without gap or overlap; one module rounds.
"""
