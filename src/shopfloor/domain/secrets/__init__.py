"""Owns secrets by name: values that people hand in once and nobody reads back.

A `git` secret is what the platform fetches and pushes with on one host (`use.git_credentials`, asked by whoever opens a
repository); a `generic` one is opened by name (`use.open_secret`) by the part that needs it. A secret belongs to the
organization, or to one project, whose own goes first. Publishes nothing.
"""
