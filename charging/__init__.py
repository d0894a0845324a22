"""The fast lane: decide and record, in one transaction.

Owns: the commands, the pure engine that decides them, the store that makes them durable, and the lane
      that coalesces concurrent requests into one commit.
Never: renders a page or knows a payment provider.
Holds: 2xx means durable; replay is answered before balance is checked; a hold is not a spend;
       a refused command never fails its neighbours.
"""
