"""Models behind one port: kinds of provider, prices, usage, retries and fail-over."""
