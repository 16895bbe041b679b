"""What can go wrong on the way in."""

from __future__ import annotations

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, NotSignedIn, PermissionDenied, ShopfloorError


class SignInRefused(NotSignedIn):
    """The same whichever part was wrong, and whether or not there is such a person."""

    title = "Not signed in"


class TooManyAttempts(ShopfloorError):
    """Too many wrong attempts for this account or from this address; `Retry-After` says how long it waits."""

    status = 429
    title = "Too many attempts"
    retryable = True


class LinkNotValid(InvalidInput):
    """A one-time token or link that is wrong, used, withdrawn or too old."""

    title = "The link is not valid"


class PasswordTooWeak(InvalidInput):
    """A password that would be guessed."""

    title = "Choose another password"


class EmailTaken(Conflict):
    """Somebody of this organization has that address."""

    title = "The address is taken"


class InvitationUnknown(NotFound):
    """No invitation has this id, or not here."""

    title = "There is no such invitation"


class SessionUnknown(NotFound):
    """No session has this id, or it is somebody else's."""

    title = "There is no such session"


class OrganizationUnknown(NotFound):
    """No organization has this id."""

    title = "There is no such organization"


class OrganizationInUse(Conflict):
    """Its people have signed in: only they let others in."""

    title = "The organization has people already"


class RefreshRaced(Conflict):
    """The token was just used by another tab or process of the same client: take what that one got."""

    title = "Another one was faster"
    retryable = True


class RoleTooHigh(PermissionDenied):
    """Nobody gives what they don't have."""

    title = "The role is above your own"


class FreshSignInNeeded(PermissionDenied):
    """What is sensitive wants a person who signed in within the last ten minutes."""

    title = "Sign in again first"
