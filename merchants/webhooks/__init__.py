"""Telling a merchant's own systems what happened: endpoints, deliveries, and the log to read from."""
