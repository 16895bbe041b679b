"""What can be wrong with a request before any room sees it."""

from __future__ import annotations

from shopfloor.base.errors import ShopfloorError


class MalformedRequest(ShopfloorError):
    """It can't be read at all: not JSON, contradicting lengths, a host we are not."""

    status = 400
    title = "The request cannot be read"


class MethodNotAllowed(ShopfloorError):
    """The address exists, the method doesn't; `Allow` names those that do."""

    status = 405
    title = "This address does not answer that method"


class BodyTimeout(ShopfloorError):
    """The body came too slowly."""

    status = 408
    title = "The body did not arrive in time"
    retryable = True


class UnsupportedMediaType(ShopfloorError):
    """The body is in a format this address doesn't read."""

    status = 415
    title = "This address does not read that format"


class PreconditionRequired(ShopfloorError):
    """A change without saying which version it starts from."""

    status = 428
    title = "Say which version you are changing"


class HeadersTooLarge(ShopfloorError):
    """More headers than anybody needs: parsing them costs more than the request is worth."""

    status = 431
    title = "The headers are too large"


class UnexpectedError(ShopfloorError):
    """A defect of ours. The error id finds it in the log; nothing of its inside is told."""

    status = 500
    title = "Something failed that should not have"
