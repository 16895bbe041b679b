"""The doors: settings, then wiring, then run. Thin."""
