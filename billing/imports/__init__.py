"""Taking over from another billing system: each reader turns an export into what ``applying`` can enter.

docs/MIGRATING.md says what is taken over, and what is not.
"""
