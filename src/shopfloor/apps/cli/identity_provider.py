"""`shopfloor identity-provider`: who else vouches for people, and the domains of mail addresses that are one's own."""

from __future__ import annotations

import os
from typing import Annotated, Any
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import Client, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list, show_one
from shopfloor.base.errors import InvalidInput, NotFound

_MOST = 200  # of one organization
_COLUMNS: list[Column] = [
    ("name", "name"), ("issuer", "issuer"), ("client", "client_id"), ("secret", "has_secret"),
    ("makes accounts", "makes_accounts"), ("role", "default_role"), ("on", "enabled"), ("start", "start_url"),
]  # fmt: skip
_FOUND: list[Column] = [
    ("issuer", "issuer"), ("sends to", "authorization_endpoint"), ("exchanges at", "token_endpoint"),
    ("signs with", "algorithms"), ("keys", "keys"), ("names itself", "answers_with_issuer"),
    ("register there", "redirect_uri"),
]  # fmt: skip
_DOMAINS: list[Column] = [
    ("domain", "domain"), ("proved", "verified_at"), ("by", "verified_by"), ("TXT record", "record_name"),
    ("text", "record_text"),
]  # fmt: skip

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="E.g. example.org.")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    provider = typer.Typer(help="Single sign-on: list, add, test, remove; domains.", no_args_is_help=True)
    provider.command("list", help="By name, without their secrets.")(_list)
    provider.command("add", help="Add an OpenID Connect provider.")(_add)
    provider.command("test", help="Fetch its description and keys, and say what they hold.")(_test)
    provider.command("remove", help="Remove one, with the identities that it vouched for.")(_remove)
    provider.command("domains", help="The domains whose addresses may make accounts.")(_domains)
    provider.command("add-domain", help="Put a domain on the list; prints the TXT record that proves it.")(_add_domain)
    provider.command("verify-domain", help="Look the record up; or, on this machine, say that it is yours.")(_verify)
    provider.command("remove-domain", help="No new accounts come by it.")(_remove_domain)
    app.add_typer(provider, name="identity-provider")


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("identity-providers", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no identity providers.")


def _add(
    name: Name,
    issuer: Annotated[str, typer.Option(help="To the letter as the provider writes it.")],
    client_id: Annotated[str, typer.Option(help="Ours, as registered there.")],
    secret_from: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="The environment variable with the client secret.")
    ] = None,
    default_role: Annotated[str, typer.Option(help="Of accounts that are made.")] = "viewer",
    makes_accounts: Annotated[
        bool, typer.Option("--makes-accounts", help="For verified addresses of proved domains.")
    ] = False,
    second_factor: Annotated[
        bool, typer.Option("--counts-as-second-factor", help="When it says that it asked for one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    body: dict[str, Any] = {
        "name": name, "issuer": issuer, "client_id": client_id, "default_role": default_role,
        "makes_accounts": makes_accounts, "counts_as_second_factor": second_factor,
    }  # fmt: skip
    if secret_from is not None:
        body["client_secret"] = _secret(secret_from)
    with connected() as client:
        made = client.post("identity-providers", body)
    if not as_json:
        note(f"People begin at {made['start_url']}. Try the provider: shopfloor identity-provider test {name}")
    done(f"Added the identity provider {made['name']}.", made, as_json=as_json)


def _test(name: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.post(f"identity-providers/{_provider(client, name)['id']}/test")
    show_one(found, _FOUND, as_json=as_json)


def _remove(name: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"identity-providers/{_provider(client, name)['id']}")
    done(f"Removed {name}.", {"removed": name}, as_json=as_json)


def _domains(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("verified-domains", most=limit)
    show_list(rows, _DOMAINS, as_json=as_json, none="There are no domains.")


def _add_domain(domain: Domain, as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post("verified-domains", {"domain": domain})
    if not as_json:
        note("Add this TXT record where the domain's DNS is kept, then: shopfloor identity-provider verify-domain")
    done(f"{made['record_name']}  {made['record_text']}", made, as_json=as_json)


def _verify(
    domain: Domain,
    operator: Annotated[
        bool, typer.Option("--operator", help="Without looking: on this machine's own database, as its owner.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    if operator:
        name = _said_by_operator(domain)
        done(f"{name} is proved, as the operator says.", {"domain": name, "verified_by": "operator"}, as_json=as_json)
        return
    with connected() as client:
        proved = client.post(f"verified-domains/{_domain(client, domain)['id']}/verify")
    done(f"{proved['domain']} is proved.", proved, as_json=as_json)


def _remove_domain(domain: Domain, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"verified-domains/{_domain(client, domain)['id']}")
    done(f"Removed {domain}.", {"removed": domain}, as_json=as_json)


def _said_by_operator(domain: str) -> str:
    """Whoever may read this machine's data folder owns its database anyway; no server is asked, none could."""
    import asyncio

    from shopfloor.apps.cli.settings import settings_for  # the whole engine: only for this
    from shopfloor.apps.wiring import open_parts
    from shopfloor.domain.access.first_start import local_owner
    from shopfloor.domain.accounts.oidc_domains import prove_by_operator
    from shopfloor.infra.tx import begin

    async def prove() -> str:
        async with open_parts(settings_for(quiet=True)) as parts:
            owner = await local_owner(parts.store)
            async with begin(parts.store, owner) as tx:
                return (await prove_by_operator(tx, domain)).domain

    return asyncio.run(prove())


def _provider(client: Client, name: str) -> dict[str, Any]:
    return _named(client, "identity-providers", "name", name, "identity provider")


def _domain(client: Client, name: str) -> dict[str, Any]:
    return _named(client, "verified-domains", "domain", name.strip().lower().rstrip("."), "domain")


def _named(client: Client, path: str, field: str, name: str, what: str) -> dict[str, Any]:
    """Raises: NotFound."""
    for row in client.items(path, most=_MOST):
        if row[field] == name:
            return row
    raise NotFound(f"There is no {what} {quote(name)}. `shopfloor identity-provider` lists yours.")


def _secret(variable: str) -> str:
    """Raises: InvalidInput."""
    secret = os.environ.get(variable, "")
    if not secret:
        raise InvalidInput(f"The environment variable {variable} is empty or not there. Set it, then repeat this.")
    return secret
