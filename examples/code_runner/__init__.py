"""A small HTTP service that runs Python programs and sells the running through Farthing.

Read in this order: farthing.py (the four calls to the billing system), seller.py (when each is made), journal.py (what
survives a crash), app.py (the HTTP side), sandbox.py and jail.py (how strangers' code is run).
"""
