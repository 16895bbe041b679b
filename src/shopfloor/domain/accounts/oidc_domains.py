"""Domains of mail addresses that are an organization's own: listed, then proved by a DNS record or the operator."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from shopfloor.base.errors import Conflict, InvalidInput, Unavailable
from shopfloor.domain.access.secret_text import new_secret
from shopfloor.domain.accounts import oidc_store
from shopfloor.domain.accounts.oidc_errors import DomainNotProved, DomainUnknown
from shopfloor.domain.accounts.oidc_models import VerifiedDomain
from shopfloor.infra.tx import Tx

TextLookup = Callable[[str], Awaitable[list[str]]]  # name -> the texts of its TXT records; none: an empty list

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")
_BEFORE: Final = "_shopfloor-challenge"
_LOOKUP_S: Final = 5.0


class DomainThere(Conflict):
    """It is on the organization's list already."""

    title = "The domain is on the list already"


class NameServiceAway(Unavailable):
    """The name service gave no answer: nothing is known of the record."""

    title = "The name service does not answer"


def record_of(domain: VerifiedDomain) -> tuple[str, str]:
    """Name and text of the TXT record that proves it. Source: RFC 8552 (underscored names)."""
    return f"{_BEFORE}.{domain.domain}", f"shopfloor-domain={domain.token}"


async def add_domain(tx: Tx, name: str) -> VerifiedDomain:
    """On the list, not proved yet. Raises: PermissionDenied, InvalidInput, DomainThere."""
    tx.require("organization.edit")
    domain = _normal(name)
    added = await oidc_store.add_domain(tx, domain, new_secret())
    if added is None:
        raise DomainThere(f"{domain} is on the list already. GET /api/v1/verified-domains shows its record.")
    await tx.record("domain.added", "domain", added.id, after={"domain": domain})
    return added


async def list_domains(tx: Tx, *, after: str | None, limit: int) -> list[VerifiedDomain]:
    """By name. Raises: PermissionDenied."""
    tx.require("organization.edit")
    return await oidc_store.domains(tx, after=after, limit=limit)


async def find_domain(tx: Tx, domain_id: UUID) -> VerifiedDomain:
    """Raises: PermissionDenied, DomainUnknown."""
    tx.require("organization.edit")
    found = await oidc_store.domain(tx, domain_id)
    if found is None:
        raise DomainUnknown(f"There is no domain {domain_id} on the list. GET /api/v1/verified-domains shows yours.")
    return found


async def prove_domain(tx: Tx, domain: VerifiedDomain, texts: Sequence[str]) -> VerifiedDomain:
    """By what its record says; `texts` were looked up before the transaction. Raises: DomainNotProved."""
    name, text = record_of(domain)
    if text not in texts:
        raise DomainNotProved(
            f"No TXT record {name} says {text}. Add it where the domain's DNS is kept; it may take minutes to an hour "
            "until it is seen. Then ask again.",
            name=name, found=len(texts),
        )  # fmt: skip
    return await _proved(tx, domain, "dns")


async def prove_by_operator(tx: Tx, name: str) -> VerifiedDomain:
    """Whoever runs the machine says so: only its command line does this. Raises: PermissionDenied, InvalidInput."""
    tx.require("organization.edit")
    domain = await oidc_store.domain_named(tx, _normal(name)) or await add_domain(tx, name)
    return await _proved(tx, domain, "operator")


async def remove_domain(tx: Tx, domain: VerifiedDomain) -> None:
    """Accounts stay; no new ones come by it. Raises: PermissionDenied."""
    tx.require("organization.edit")
    await oidc_store.remove_domain(tx, domain.id)
    await tx.record("domain.removed", "domain", domain.id, before={"domain": domain.domain})


def dns_texts(*, nameservers: Sequence[str] = (), port: int = 53) -> TextLookup:
    """The machine's own name servers, or those given."""

    async def lookup(name: str) -> list[str]:
        import dns.asyncresolver  # a heavy one, used once a domain
        import dns.exception
        import dns.resolver
        from dns.rdtypes.ANY.TXT import TXT

        resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            resolver.nameservers, resolver.port = list(nameservers), port
        try:
            answer = await resolver.resolve(f"{name}.", "TXT", lifetime=_LOOKUP_S, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return []
        except dns.exception.DNSException as error:
            raise NameServiceAway(f"No name server answered for {name}: {error}. Try again.") from error
        found = [each for each in answer if isinstance(each, TXT)]
        return [b"".join(each.strings).decode("utf-8", "replace") for each in found]

    return lookup


def domain_of(email: str) -> str | None:
    """The domain of an address; None for what is none, or a host alone."""
    local, _, domain = email.rpartition("@")
    domain = domain.lower()
    return domain if local and "@" not in local and _DOMAIN.fullmatch(domain) else None


async def _proved(tx: Tx, domain: VerifiedDomain, how: str) -> VerifiedDomain:
    await oidc_store.note_verified(tx, domain.id, how, tx.clock.now())
    await tx.record("domain.verified", "domain", domain.id, after={"domain": domain.domain, "by": how})
    return await find_domain(tx, domain.id)


def _normal(name: str) -> str:
    domain = name.strip().lower().rstrip(".")
    if not _DOMAIN.fullmatch(domain):
        raise InvalidInput(f"{name!r} is no domain. Write it like example.org; other scripts in their xn-- form.")
    return domain
