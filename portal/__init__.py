"""The customer's window: balance, what is held, spend and usage as they happen, and invoices; by link, without a login.

Owns: the session behind a signed link, and the pages it opens.
Never: shows anything of the merchant beyond its name, or of another customer; changes anything, but that a customer
       can limit their own spending, and in test mode add test money.
Holds: a session opens one subscription until the moment its link expires; its token is in a URL only once.
"""
