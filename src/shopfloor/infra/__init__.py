"""What everything stands on: transactions, queue, events, blobs, secrets, telemetry, outbound HTTP."""
