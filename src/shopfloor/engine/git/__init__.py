"""Repositories: the platform's own fetch and push, bundles in and out, diffs. Never opens what a sandbox wrote."""
