from engine.git.git_fixtures import cache, git, origin, round_trip, server

__all__ = ["cache", "git", "origin", "round_trip", "server"]
