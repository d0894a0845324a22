"""Who buys.

Owns: customers, the claims that keep e-mail and external id unique at a merchant, and the book: the row
      that is each customer's mutex.
Never: knows what a customer used or owes.
Holds: one customer per (merchant, e-mail); every owned row of a customer lives in the customer's bucket.
"""
