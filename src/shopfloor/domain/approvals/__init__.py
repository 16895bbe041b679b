"""Owns what jobs may only do once a person has said yes, and what that person said.

It stands above `jobs`, which asks it through `jobs/gate.py::Gate`; wiring hands it in. Publishes `ApprovalAsked`.

    asked -> pending -> approved | rejected | expired (nobody answered) | withdrawn (the job ended otherwise)
"""
