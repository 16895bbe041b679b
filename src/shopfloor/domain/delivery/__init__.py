"""Owns where work goes: a project's environments, releases and sprints, and which jobs belong to each.

Simple records: nothing is deployed or scheduled by them. A job is tied to records of its own project only.
It stands above `jobs`, is called by HTTP alone, and publishes nothing.
"""
