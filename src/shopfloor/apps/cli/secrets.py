"""`shopfloor secrets`: new keys without a pause. Master keys on this machine's settings and database, others by API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, done
from shopfloor.apps.cli.secret import ValueFrom, ValueStdin, value_of
from shopfloor.base.errors import NotFound
from shopfloor.base.ids import parse_id

if TYPE_CHECKING:
    from shopfloor.apps.wiring import Parts

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    secrets = typer.Typer(
        help="Keys that secrets are sealed with: rotate-master, rotate-data, rotate-jwt, rotate-provider.",
        no_args_is_help=True,
    )
    secrets.command("rotate-master", help="A new master key, every data key wrapped under it. Run it on a server.")(
        _rotate_master
    )
    secrets.command("rotate-data", help="A new data key, every secret sealed anew.")(_rotate_data)
    secrets.command("rotate-jwt", help="The next key signs access tokens; those that are out hold to their end.")(
        _rotate_jwt
    )
    secrets.command("rotate-provider", help="A model provider's new key; running jobs go on.")(_rotate_provider)
    app.add_typer(secrets, name="secrets")


def _rotate_master(
    keep_current: Annotated[
        bool, typer.Option("--keep-current", help="Make no new key: wrap everything under the present one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    async def work(parts: Parts) -> dict[str, Any]:
        from shopfloor.domain.access.first_start import local_owner
        from shopfloor.infra.secrets.rotation import rotate_master
        from shopfloor.infra.tx import begin

        rotated = await rotate_master(parts.store, parts.sealer, renew=not keep_current)
        async with begin(parts.store, await local_owner(parts.store)) as tx:
            after = {"data_keys": rotated.data_keys}
            await tx.record("master_key.rotated", "master_key", rotated.key_id, after=after)
        return asdict(rotated)

    told = _here(work)
    done(f"{told['data_keys']} data keys are wrapped under {told['key_id']} now.", told, as_json=as_json)


def _rotate_data(
    organization: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only this one, on a server. Default: that of your key, over the API."),
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every organization, on a server.")] = False,
    as_json: AsJson = False,
) -> None:
    if organization is None and not everybody:
        with connected() as client:
            told = [client.post("data-key/rotate")]
    else:
        told = _here(lambda parts: _each(parts, organization))
    values, broken = sum(each["values"] for each in told), sum(each["broken"] for each in told)
    note = f" {broken} did not open and stay as they are: the log names them." if broken else ""
    done(f"{values} secrets of {len(told)} organization(s) are sealed anew.{note}", {"rotated": told}, as_json=as_json)


async def _each(parts: Parts, organization: str | None) -> list[dict[str, Any]]:
    from shopfloor.infra.secrets.rotation import organizations, rotate_data

    known = await organizations(parts.store)
    if organization is not None:
        wanted = parse_id(organization)
        if wanted not in known:
            raise NotFound(
                f"No organization {organization} has secrets. GET /api/v1/organizations/current tells the id of yours."
            )
        known = [wanted]
    rotated = [await rotate_data(parts.store, parts.sealer, each) for each in known if each is not None]
    return [{name: _plain(value) for name, value in asdict(each).items()} for each in rotated]


def _rotate_jwt(as_json: AsJson = False) -> None:
    from shopfloor.domain.accounts.signing import rotate_signing_key  # opens the whole room: only here

    kid = _here(lambda parts: rotate_signing_key(parts.store, parts.sealer))
    done(f"Access tokens are signed by the key {kid} from now on.", {"kid": kid}, as_json=as_json)


def _rotate_provider(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Its name.", show_default=False)],
    value_from: ValueFrom = None,
    value_stdin: ValueStdin = False,
    as_json: AsJson = False,
) -> None:
    key = value_of(f"New key of {provider}", variable=value_from, from_stdin=value_stdin)
    with connected() as client:
        found = next((each for each in client.items("providers", most=1_000) if each["name"] == provider), None)
        if found is None:
            raise NotFound(f"There is no provider {provider!r}. `shopfloor provider list` shows what there is.")
        match = {"If-Match": f'"{found["version"]}"'}
        changed = client.send("PATCH", f"providers/{found['id']}", body={"api_key": key}, headers=match)
    done(
        f"Runs that begin from now on call {provider} with the new key. Revoke the old one when those that run now "
        f"have ended; try the new one: shopfloor provider test {provider}",
        changed,
        as_json=as_json,
    )


def _here(work: Callable[[Parts], Awaitable[T]]) -> T:
    """On this machine's database and keeper of the master key, as a server has them."""
    from shopfloor.apps.cli.settings import settings_for  # the whole engine: only here
    from shopfloor.apps.wiring import open_parts

    async def opened() -> T:
        async with open_parts(settings_for(quiet=True)) as parts:
            return await work(parts)

    return asyncio.run(opened())


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
