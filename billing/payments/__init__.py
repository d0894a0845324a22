"""Payments: how money that is asked for gets here, whatever becomes of the provider, the network or us in between.

``attempts`` begins a payment and hands it to a provider; ``outcomes`` alone moves money, whoever brings the news: the
provider's answer, a webhook, the poller, or a reconciliation.
"""
