"""Owns dead letters: jobs and tasks that the platform has given up, why, and what somebody decided about each.

Filled by the collector in every process; worked by people over HTTP; publishes DeadLetterAdded.

    job: running --too many crashes or failures--> dead --collect--> open --requeue--> requeued (a fork goes on)
    task: doing --last attempt fails, or its worker dies--> failed --collect--> open --discard--> discarded

Read it in this order: collect > requeue > bulk.
"""
