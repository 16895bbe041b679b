"""Owns what was used: sums by day of every booked call, reports and exports of them, and estimates of what is to come.

The ledger calls `add_up` in its own commit, so that the sums are those of the ledger to the nano-dollar. Re-rating, the
one thing here that moves money, hands its corrections to the ledger.
"""
