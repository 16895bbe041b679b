from engine.git.git_fixtures import cache, git, origin, round_trip, server
from security.shop_fixture import shop, shop_url

__all__ = ["cache", "git", "origin", "round_trip", "server", "shop", "shop_url"]
