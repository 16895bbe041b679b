"""`shopfloor mfa`: one's own second factors, and whether the organization asks for them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, done, note, show_list, show_one

_POLICY = "organizations/current/sign-in-policy"
_SET: tuple[str, ...] = (
    "mfa_required", "mfa_grace_days", "password_allowed", "link_by_verified_domain", "session_idle_s",
    "session_absolute_s",
)  # fmt: skip
_STATUS: list[Column] = [
    ("required", "required"), ("set up", "enrolled"), ("app since", "totp_since"), ("passkeys", "names"),
    ("recovery codes left", "recovery_codes_left"),
]  # fmt: skip
_PASSKEYS: list[Column] = [
    ("id", "id"), ("name", "name"), ("added", "created_at"), ("last used", "last_used_at"),
    ("on several devices", "backed_up"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    mfa = typer.Typer(help="Second factors: status, enrol, confirm, remove, require.", no_args_is_help=True)
    mfa.command("status", help="Which second factors you have.")(_status)
    mfa.command("passkeys", help="Your passkeys. They are added in a browser.")(_passkeys)
    mfa.command("enrol", help="Begin with an authenticator app; its secret is printed this once.")(_enrol)
    mfa.command("confirm", help="The first code of the app: it counts from now on.")(_confirm)
    mfa.command("recovery-codes", help="Ten new ones in place of all you have; printed this once.")(_recovery_codes)
    mfa.command("remove", help="Remove the app (`totp`), or a passkey by its id.")(_remove)
    mfa.command("reset", help="Take all second factors of a member away, who has lost them.")(_reset)
    mfa.command("require", help="Ask everybody of the organization for a second factor, or no longer.")(_require)
    app.add_typer(mfa, name="mfa")


def _status(as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get("me/factors")
    row = found if as_json else {**found, "names": [each["name"] for each in found["passkeys"]]}
    show_one(row, _STATUS, as_json=as_json)


def _passkeys(as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.get("me/factors")["passkeys"]
    show_list(rows, _PASSKEYS, as_json=as_json, none="You have no passkeys.")


def _enrol(as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post("me/factors/totp")
    if not as_json:
        note("Put this into your authenticator app, then: shopfloor mfa confirm CODE. It is shown this once.")
        note(f"Secret to type: {made['secret']}")
    done(made["uri"], made, as_json=as_json)


def _confirm(
    code: Annotated[str, typer.Argument(help="The six digits that the app shows now.")], as_json: AsJson = False
) -> None:
    with connected() as client:
        added = client.post("me/factors/totp/confirm", {"code": code})
    if not as_json:
        note("Done: from now on you are asked for a code when you sign in.")
    _show_codes(added, as_json=as_json)


def _recovery_codes(as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post("me/factors/recovery-codes")
    _show_codes(made, as_json=as_json)


def _remove(
    factor: Annotated[str, typer.Argument(metavar="totp|PASSKEY", help="`totp`, or the id of a passkey.")],
    as_json: AsJson = False,
) -> None:
    path = "totp" if factor == "totp" else f"passkeys/{quote(factor, safe='')}"
    with connected() as client:
        client.send("DELETE", f"me/factors/{path}")
    done(f"Removed {factor}.", {"removed": factor}, as_json=as_json)


def _reset(member: Annotated[str, typer.Argument(metavar="MEMBER", help="Their id.")], as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"members/{quote(member, safe='')}/factors")
    done(f"{member} has no second factor any more.", {"reset": member}, as_json=as_json)


def _require(
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
    grace_days: Annotated[
        int | None, typer.Option(min=0, max=90, help="So long members may go on without. Default: as it is set.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        present = client.get(_POLICY)
        wanted: dict[str, Any] = {name: present[name] for name in _SET} | {"mfa_required": not off}
        if grace_days is not None:
            wanted["mfa_grace_days"] = grace_days
        # The version that was read: whoever changed it meanwhile is not overwritten.
        set_ = client.send("PUT", _POLICY, body=wanted, headers={"If-Match": f'"{present["version"]}"'})
    days = set_["mfa_grace_days"]
    text = f"Everybody needs a second factor{f' within {days} days' if days else ''}."
    done("Nobody needs a second factor." if off else text, set_, as_json=as_json)


def _show_codes(added: dict[str, Any], *, as_json: bool) -> None:
    codes = added["recovery_codes"]
    if codes and not as_json:
        note("Recovery codes, each good once, for the day your device is gone. Keep them apart from it:")
    done("\n".join(codes) or "Your recovery codes stay as they are.", added, as_json=as_json)
