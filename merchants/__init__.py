"""Who sells: the tenant, its team, its keys, its products, and the words every request needs.

Owns: organizations, merchants (test and live), users, memberships, API keys, products, the audit log;
      public ids, errors, strict parsing, authentication and tenancy of the API.
Never: knows a customer, a price or an amount.
Holds: a key opens exactly one merchant in exactly one mode; a secret is stored only as a hash.
"""
