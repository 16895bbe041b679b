"""HTTP plumbing that every room's api.py stands on: problems, bodies, pages, ETags, streams, health.

`plumbing.install_plumbing(app, settings)` puts it around a FastAPI application; `server.Server` runs it.
"""
