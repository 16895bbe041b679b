"""What our mails say: short, with one link, and who gets one that wasn't asked for may throw it away."""

from __future__ import annotations

from html import escape

from shopfloor.infra.mail import Mail


def invitation(to: str, *, organization: str, link: str) -> Mail:
    """Somebody may come in."""
    return _letter(
        to, f"You are invited to {organization} on Shopfloor",
        f"You are invited to the organization {organization}. Open this link within 7 days, and choose a password:",
        link,
    )  # fmt: skip


def reset(to: str, *, link: str) -> Mail:
    """A new password."""
    return _letter(
        to, "Choose a new password",
        "Somebody asked for a new password for your account. Open this link within 30 minutes to choose one:",
        link,
    )  # fmt: skip


def verification(to: str, *, link: str) -> Mail:
    """Whether an address is its owner's."""
    return _letter(
        to, "Confirm your address", "Open this link within 24 hours to confirm that this is your address:", link
    )


def password_changed(to: str) -> Mail:
    """So that a change that somebody else made is noticed."""
    return _letter(
        to, "Your password was changed",
        "The password of your account was changed, and its other sessions were ended. If that wasn't you, ask for a "
        "new password at once and tell an admin of your organization.",
        "",
    )  # fmt: skip


def _letter(to: str, subject: str, said: str, link: str) -> Mail:
    subject = " ".join(subject.split())
    end = "If you didn't expect this mail, do nothing: without the link nothing happens." if link else ""
    text = "\n\n".join(part for part in (said, link, end) if part) + "\n"
    anchor = f'<p><a href="{escape(link)}">{escape(link)}</a></p>' if link else ""
    ending = f"<p>{escape(end)}</p>" if end else ""
    html = f'<!doctype html><html lang="en"><body><p>{escape(said)}</p>{anchor}{ending}</body></html>'
    return Mail(to, subject, text, html)
