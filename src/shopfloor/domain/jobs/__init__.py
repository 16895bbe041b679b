"""Owns jobs: what was asked, each run at it, the journal of its steps, and the events that watchers read.

Called by the API and the worker; publishes JobFinished.

    queued --admit, claim--> running --> succeeded | failed | cancelled
      ^  ^                    |   |
      |  +---- crash, again --+   +--> dead       (too many crashes or failures: the dead-letter queue)
      +------- waiting <------+                   (budget, provider, approval, dependency)

Read it in this order: lifecycle (pure) > submit > dispatch > lease > execute > journal > control.
"""
