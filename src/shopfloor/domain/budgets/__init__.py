"""Owns money: budgets, the holds set aside before each paid call, and the ledger of what was held, spent and corrected.

The jobs room asks the `Ledger` before each model call and tells it what the call cost; nothing else moves money.
"""
