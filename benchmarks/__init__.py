"""How fast the engine is, measured against bare PostgreSQL in the same run. ``make bench``; see docs/PERFORMANCE.md."""
