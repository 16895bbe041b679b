"""Master keys of this machine: in a file closed to others, or in the environment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from shopfloor.infra.secrets.master_key import MAKE_ONE, SETTING, read_key, read_keys, write_keys
from shopfloor.infra.secrets.port import RenewElsewhere

_OTHERS = "SHOPFLOOR_SECRETS__OTHER_MASTER_KEYS"


class FileSource:
    """A key a line, the current one first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.name = str(file)

    async def read(self) -> list[bytes]:
        """The file is made when it isn't there. Raises: SettingsError."""
        return await asyncio.to_thread(read_keys, self._file)

    async def add(self, key: bytes) -> None:
        """On this machine; other machines need the file too."""
        keys = await self.read()
        await asyncio.to_thread(write_keys, self._file, [key, *keys])

    async def aclose(self) -> None:
        """Nothing is held."""


class SettingSource:
    """From the environment or shopfloor.toml: read once, at the start of the process."""

    name = SETTING

    def __init__(self, current: str, others: Sequence[str] = ()) -> None:
        """Raises: SettingsError."""
        self._keys = [read_key(current, SETTING), *(read_key(each, _OTHERS) for each in others)]

    async def read(self) -> list[bytes]:
        """As at the start."""
        return self._keys

    async def add(self, key: bytes) -> None:
        """Raises: RenewElsewhere, always: nobody changes the environment of a running process."""
        del key
        raise RenewElsewhere(
            f"The master key stands in {SETTING}, which only you can change. Make a new one ({MAKE_ONE}); add it to "
            f"{_OTHERS} and restart every process; then make it {SETTING}, put the old one into {_OTHERS} and restart "
            "every process again; then run `shopfloor secrets rotate-master` with --keep-current."
        )

    async def aclose(self) -> None:
        """Nothing is held."""
