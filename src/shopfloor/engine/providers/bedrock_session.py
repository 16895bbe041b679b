"""A botocore session that signs with a Bedrock API key. Imported only when such a key is used: botocore is heavy."""

from __future__ import annotations

from typing import Any

from botocore.session import Session
from botocore.tokens import FrozenAuthToken


def bearer_session(token: str) -> Session:
    """A session with this token and nothing from the environment or the machine's role."""
    return _BearerSession(token)


class _BearerSession(Session):
    def __init__(self, token: str) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._token = token

    def get_auth_token(self, **_kwargs: Any) -> FrozenAuthToken:
        return FrozenAuthToken(self._token)

    def get_credentials(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None
