"""What can go wrong in this room."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, NotFound, Unavailable


class ChannelUnknown(NotFound):
    """No channel has this id in this organization."""

    title: ClassVar[str] = "There is no such channel"


class ChannelExists(Conflict):
    """There is a channel to this address already."""

    title: ClassVar[str] = "There is such a channel already"


class TooManyChannels(Conflict):
    """The organization has as many channels as are allowed."""

    title: ClassVar[str] = "There are too many channels"


class NoMailServer(Conflict):
    """Mails can't be sent: the installation has no mail server."""

    title: ClassVar[str] = "There is no mail server"


class NotificationUnknown(NotFound):
    """No notification has this id, or not for this principal."""

    title: ClassVar[str] = "There is no such notification"


class DeliveryUnknown(NotFound):
    """The channel has no delivery of this id."""

    title: ClassVar[str] = "There is no such delivery"


class NotDelivered(Unavailable):
    """A channel didn't take a notification; it is tried again."""

    title: ClassVar[str] = "The notification did not arrive"
