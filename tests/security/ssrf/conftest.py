from security.shop_fixture import shop_url

__all__ = ["shop_url"]
