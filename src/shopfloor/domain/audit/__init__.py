"""Owns the record of who did what: entries, the Merkle tree over them, signed checkpoints, and their verification.

Every room writes to it through `tx.record` without knowing it: `recorder.keep` is wired in apps/wiring.py. An entry
commits with its change; `sequence.Sequencer` gives committed entries their place in the tree and signs it, in a
transaction of its own, so that nobody who changes something waits for anybody else:

    entry (with the change) -> leaf (sequencer) -> checkpoint (signed; in the database, in a folder outside, in the log)

Read it in this order: canonical, merkle, note (pure), entry, recorder, sequence, proofs, export, verify.
It publishes nothing.
"""
