"""Secrets that come from settings are struck out of logs and answers from the start."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from shopfloor.apps.settings import Settings
from shopfloor.infra.database import DatabaseUrls
from shopfloor.infra.redaction import REDACTOR


def strike_out_settings(settings: Settings) -> None:
    """Tokens for Git hosts and for Vault. Master keys are struck out where they are read."""
    for secret in _secrets(settings):
        REDACTOR.remember(secret)


def strike_out_passwords(urls: DatabaseUrls) -> None:
    """Of every role; an error of the driver may quote a URL."""
    for url in (urls.owner, urls.app, urls.system, urls.listen):
        password = urlsplit(url).password if url is not None else None
        if password:
            REDACTOR.remember(unquote(password))


def _secrets(settings: Settings) -> Iterator[str]:
    for credential in settings.repositories.credentials.values():
        yield credential.get_secret_value().rpartition(":")[2]
    for secret in (settings.secrets.vault.token, settings.secrets.vault.secret_id):
        if secret is not None:
            yield secret.get_secret_value()
