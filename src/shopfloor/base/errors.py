"""The one family of errors: what happened, why, what to do next, and the facts behind it."""

from __future__ import annotations

import re
from typing import ClassVar


class ShopfloorError(Exception):
    """An error that a person or a program can act on.

    HTTP renders it as problem+json (RFC 9457), the CLI as a sentence, the queue reads `retryable`.
    `facts` are JSON-serialisable and never hold a secret.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something failed that should not have"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, **facts: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts

    @classmethod
    def code(cls) -> str:
        """The class name in kebab-case: the stable name of this error on every surface."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def as_dict(self) -> dict[str, object]:
        """`{code, title, detail, retryable, facts}` for records and logs."""
        return {
            "code": self.code(),
            "title": self.title,
            "detail": self.detail,
            "retryable": self.retryable,
            "facts": self.facts,
        }


class InvalidInput(ShopfloorError):
    """What was sent does not fit what is documented."""

    status = 422
    title = "The request does not fit what is documented"


class NotSignedIn(ShopfloorError):
    """No credential, or one that is not valid."""

    status = 401
    title = "Sign in first"


class PermissionDenied(ShopfloorError):
    """The principal lacks a permission; the detail names it and who can give it."""

    status = 403
    title = "Not permitted"


class NotFound(ShopfloorError):
    """It does not exist, or not for this principal: both answer alike."""

    status = 404
    title = "Not found"


class Conflict(ShopfloorError):
    """The state it is in now does not allow this."""

    status = 409
    title = "Conflicts with the present state"


class PreconditionFailed(ShopfloorError):
    """If-Match names a version that is no longer the newest."""

    status = 412
    title = "It has changed since you read it"


class TooLarge(ShopfloorError):
    """A body, file, archive or nesting over its limit."""

    status = 413
    title = "Too large"


class Unavailable(ShopfloorError):
    """A part that is needed does not answer at the moment."""

    status = 503
    title = "A part that is needed does not answer"
    retryable = True


class SettingsError(ShopfloorError):
    """A setting is missing, unknown or contradicts another; nothing was started."""

    title = "The settings do not hold together"
