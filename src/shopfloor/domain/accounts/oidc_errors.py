"""What can go wrong with signing in through somebody else."""

from __future__ import annotations

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, NotSignedIn, PermissionDenied, Unavailable


class IdentityProviderUnknown(NotFound):
    """No identity provider has this id, or not here, or it is switched off."""

    title = "There is no such identity provider"


class IdentityProviderNameTaken(Conflict):
    """The organization has one of that name."""

    title = "The name is taken"


class IdentityProviderAway(Unavailable):
    """The provider doesn't answer, or not with what OpenID Connect asks for; nothing was decided."""

    title = "The identity provider does not answer as it should"


class IdentityRefused(NotSignedIn):
    """What came back from the provider doesn't hold. The log has the reason; the answer is the same for all."""

    title = "Sign-in through the provider failed"


class IdentityNotWelcome(PermissionDenied):
    """The provider vouches for the person, but no account is theirs and none may be made."""

    title = "There is no account for you here"


class IdentityTaken(Conflict):
    """That identity belongs to another account."""

    title = "The identity is linked to another account"


class LastWayInKept(Conflict):
    """Without it its owner could not sign in any more."""

    title = "The last way to sign in stays"


class DomainUnknown(NotFound):
    """The organization has no such domain on its list."""

    title = "There is no such domain"


class DomainNotProved(Conflict):
    """The record that proves the domain isn't there yet."""

    title = "The domain is not proved yet"


class ReturnRefused(InvalidInput):
    """Where to go after signing in may be a path of this site only."""

    title = "This is no path to return to"
