"""Replacing the master key for 1,000 organizations while two processes go on opening their secrets.

The floor is the time to read and update 1,000 rows in the same batches, without any cryptography.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from machine import report
from shopfloor.base.ids import NIL, new_id
from shopfloor.base.principal import Principal
from shopfloor.infra import schema
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.secret_stores.choose import open_master_keys
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.installation import open_sealer
from shopfloor.infra.secrets.rotation import rotate_master
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.infra.tx import Store, begin, begin_system

REACH_S = 1.0
SETTINGS = SecretsSettings(cache_s=0.05)  # so that readers keep asking for keys; 300 s by default
PLACE = "providers/{}/sealed_key"
BATCH = 250


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Store]:
    settings = DatabaseSettings(url=url)
    database = Database(urls_of(settings), settings)
    await database.open()
    try:
        yield Store(database)
    finally:
        await database.aclose()


async def sealer_of(store: Store, home: Path) -> EnvelopeSealer:
    kept = await open_master_keys(SETTINGS, home)
    return await open_sealer(store, kept.master_keys, SETTINGS, older=kept.older)


def worker(organization_id: UUID) -> Principal:
    return Principal("worker", NIL, organization_id, frozenset({"*"}))


async def fill(store: Store, sealer: EnvelopeSealer, organizations: int) -> None:
    for _ in range(organizations):
        organization_id, provider_id = new_id(), new_id()
        async with begin_system(store) as tx:
            await tx.execute("insert into organizations (id, name) values (%s, 'x')", (organization_id,))
        async with begin(store, worker(organization_id)) as tx:
            sealed = await sealer.seal(tx, organization_id, PLACE.format(provider_id), "visibly-fake-secret")
            await tx.execute(
                "insert into providers (id, organization_id, name, kind, sealed_key) "
                "values (%s, %s, 'a', 'openai', %s)",
                (provider_id, organization_id, sealed),
            )


async def read(url: str, home: Path) -> None:
    """One reader process: opens secrets of one organization after the other until its standard input ends."""
    async with connected(url) as store:
        sealer = await sealer_of(store, home)
        async with begin_system(store) as tx:
            rows = await tx.all("select id, organization_id, sealed_key from providers")
        print("ready", flush=True)
        stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        opened = failed = 0
        while not stop.done():
            for row in rows:
                try:
                    async with begin(store, worker(row["organization_id"])) as tx:
                        await sealer.open(tx, row["organization_id"], PLACE.format(row["id"]), row["sealed_key"])
                    opened += 1
                except Exception as error:  # noqa: BLE001 - whatever a request would have met counts
                    print(repr(error), file=sys.stderr)
                    failed += 1
                if stop.done():
                    break
        print(opened, failed, flush=True)


async def floor_s(store: Store) -> float:
    """Reading and updating the same rows in the same batches, nothing else."""
    started, after = time.perf_counter(), NIL
    while True:
        async with begin_system(store) as tx:
            rows = await tx.all("select id, wrapped from data_keys where id > %s order by id limit %s", (after, BATCH))
        if not rows:
            return time.perf_counter() - started
        async with begin_system(store) as tx:
            await tx.execute(
                "update data_keys k set wrapped = n.wrapped from unnest(%s::uuid[], %s::bytea[]) as n(id, wrapped) "
                "where k.id = n.id",
                ([row["id"] for row in rows], [row["wrapped"] for row in rows]),
            )
        after = rows[-1]["id"]


async def measure(url: str, home: Path, organizations: int, rounds: int) -> dict[str, Any]:
    async with connected(url) as store:
        sealer = await sealer_of(store, home)
        await fill(store, sealer, organizations)
        command = [sys.executable, __file__, "--read", url, "--home", str(home)]
        readers = [
            await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for reader in readers:
            assert reader.stdout is not None
            await reader.stdout.readline()
        taken, floors = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            rotated = await rotate_master(store, sealer)
            taken.append(time.perf_counter() - started)
            assert rotated.data_keys == organizations + 1
            floors.append(await floor_s(store))
        answers = [(await reader.communicate(b""))[0].split() for reader in readers]
        started = time.perf_counter()
        await rotate_master(store, sealer)
        alone = time.perf_counter() - started
    return {
        "organizations": organizations,
        "rounds": rounds,
        "reach_s": REACH_S,
        "rotate_s": {"median": round(sorted(taken)[rounds // 2], 3), "worst": round(max(taken), 3)},
        "rotate_without_readers_s": round(alone, 3),
        "floor_s": round(sorted(floors)[rounds // 2], 3),
        "opened_meanwhile": sum(int(opened) for opened, _ in answers),
        "failed_meanwhile": sum(int(failed) for _, failed in answers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        asyncio.run(read(arguments.read, arguments.home))
        return
    with TemporaryDirectory(prefix="sf-rotate-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        url = server.start()
        try:
            schema.migrate(url)
            figures = asyncio.run(measure(url, Path(folder), arguments.organizations, arguments.rounds))
        finally:
            server.stop()
    report("rotate_master", figures)


if __name__ == "__main__":
    main()
