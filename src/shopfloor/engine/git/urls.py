"""Which repository URLs are taken, and how Git is held to the addresses that were checked."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field

from shopfloor.engine.git.errors import CredentialsRefused
from shopfloor.infra.outbound import CheckedUrl, OutboundRules, Resolver, UrlRefused, check_url, parse_url

_SCP_LIKE = re.compile(r"[^/]+@[^/]+:.*|[^/:]+:(?!//).*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the platform shows a Git server. Never part of a URL, an argument, a log line or a file."""

    password: str = field(repr=False)
    username: str = "x-access-token"  # forges take any name beside a token


@dataclass(frozen=True, slots=True)
class RepositoryUrl:
    """A repository whose host was checked a moment ago."""

    checked: CheckedUrl

    @property
    def url(self) -> str:
        """As given to Git, without a slash at its end."""
        return self.checked.url.rstrip("/")

    @property
    def config(self) -> dict[str, str]:
        """Git settings that pin the connection: no second look-up can answer differently (`http.curloptResolve`)."""
        if _is_address(self.checked.host):
            return {}
        addresses = ",".join(f"[{text}]" if ":" in text else text for text in self.checked.addresses)
        return {"http.curloptResolve": f"{self.checked.host}:{self.checked.port}:{addresses}"}

    def environment(self, credentials: Credentials | None) -> dict[str, str]:
        """Variables that give Git the credentials for this very server, for one command. Raises: CredentialsRefused."""
        if credentials is None:
            return {}
        if re.search(r"[\x00-\x1f\x7f]", credentials.username + credentials.password) or ":" in credentials.username:
            raise CredentialsRefused("The credentials hold a control character, or the user name holds a colon.")
        pair = f"{credentials.username}:{credentials.password}".encode()
        origin = re.match(r"[a-zA-Z]+://[^/]+", self.url)
        assert origin is not None
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{origin[0]}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {base64.b64encode(pair).decode()}",
        }


def parse_repository_url(text: str, rules: OutboundRules) -> str:
    """The URL, if its form is allowed; nothing is looked up. Raises: UrlRefused that says what is allowed."""
    allowed = " or ".join(f"{scheme}://host/path" for scheme in sorted(rules.schemes))
    if text.startswith("-") or "::" in text.partition("/")[0]:
        raise UrlRefused(f"This is no repository URL. Write {allowed}.")
    if "://" not in text and _SCP_LIKE.fullmatch(text):
        raise UrlRefused(f"Repositories are not reached by SSH. Write {allowed}, with a token stored as a secret.")
    if "://" not in text:
        raise UrlRefused(
            f"A repository is named by {allowed}. A folder of your own machine can be used with `shopfloor run --repo`."
        )
    parsed = parse_url(text, rules)
    path = parsed.url.partition("://")[2].partition("/")[2]
    if not path.strip("/"):
        raise UrlRefused(f"The URL names a host but no repository on it. Write {allowed}.")
    if "?" in path or "#" in path:
        raise UrlRefused(f"A repository URL has no query and no fragment. Write {allowed}; name the branch as `ref`.")
    return parsed.url


async def check_repository_url(text: str, rules: OutboundRules, *, resolver: Resolver | None = None) -> RepositoryUrl:
    """Parse, resolve, check every address. Raises: UrlRefused, HostUnknown, HostUnresolved."""
    return RepositoryUrl(await check_url(parse_repository_url(text, rules), rules, resolver=resolver))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
