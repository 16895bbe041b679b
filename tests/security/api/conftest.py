from security.shop_fixture import shop, shop_url

__all__ = ["shop", "shop_url"]
