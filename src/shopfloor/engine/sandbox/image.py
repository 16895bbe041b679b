"""The default image: made from the packages of the host's release or by the Dockerfile, known by its recipe's hash.

Workers only look for the label (`check_image`); `ensure_image` builds, and belongs to set-up.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import platform
import shlex
import shutil
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from shopfloor.engine.sandbox.apt_sources import own_release
from shopfloor.engine.sandbox.engine import Engine
from shopfloor.engine.sandbox.port import ImageMissing, SandboxUnavailable

LABEL: Final = "shopfloor.image"
REPOSITORY: Final = "shopfloor-sandbox"
_SUITE: Final = "bookworm"  # where the host's own release can't be had
_INSTALL: Final = "sudo apt-get install -y mmdebstrap"
_RECIPE: Final = ("packages.txt", "customize.sh", "Dockerfile")
_BUILD_S: Final = 900.0
_LOAD_S: Final = 300.0
_LEFT_OUT: Final = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def image_content() -> str:
    """The hash of everything the image is made from, 16 hex digits."""
    folder = files("shopfloor.engine.sandbox").joinpath("image_files")
    digest = hashlib.sha256(_SUITE.encode())
    for name in _RECIPE:
        digest.update(folder.joinpath(name).read_bytes())
    return digest.hexdigest()[:16]


def image_name() -> str:
    """The default image of this version: `shopfloor-sandbox:<content>`."""
    return f"{REPOSITORY}:{image_content()}"


def packages() -> list[str]:
    """The Debian packages in it."""
    text = files("shopfloor.engine.sandbox").joinpath("image_files", "packages.txt").read_text()
    return [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]


async def check_image(engine: Engine, name: str | None = None) -> str:
    """The id of the image to use. Raises: ImageMissing, SandboxUnavailable."""
    wanted = name or image_name()
    found = await engine.image(wanted)
    if found is None:
        raise ImageMissing(
            f"the image {wanted} is not on this machine: build it with `shopfloor image build`, or name another one in"
            " SHOPFLOOR_SANDBOX__IMAGE",
            image=wanted,
        )
    config: dict[str, Any] = found.get("Config") or {}
    labels: dict[str, str] = config.get("Labels") or {}
    if name is None and labels.get(LABEL) != image_content():
        raise ImageMissing(f"{wanted} was not built by this version of Shopfloor: build it again", image=wanted)
    return str(found["Id"])


async def ensure_image(engine: Engine, *, scratch: Path | None = None, base: str | None = None) -> str:
    """As check_image, built now if it is missing: as root from packages (about a minute), else by the Dockerfile.

    `base` is the image that the Dockerfile starts from; naming it chooses that way.
    """
    try:
        return await check_image(engine)
    except ImageMissing:
        pass
    if base is None and os.geteuid() == 0 and shutil.which("mmdebstrap") is not None:
        await _from_packages(engine, scratch)
    else:
        await _from_dockerfile(engine, base)
    return await check_image(engine)


async def _from_packages(engine: Engine, scratch: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="shopfloor-image-", dir=scratch) as folder:
        layer = Path(folder) / "layer.tar"
        await _debootstrap(layer)
        archive = await asyncio.to_thread(_save_format, layer, Path(folder) / "image.tar")
        await engine.load(_read(archive), timeout_s=_LOAD_S)


async def _from_dockerfile(engine: Engine, base: str | None) -> None:
    """Its base comes from a registry unless it is here."""
    arguments = {"CONTENT": image_content(), **({"BASE": base} if base else {})}
    try:
        await engine.build(_context(), tag=image_name(), arguments=arguments, timeout_s=_BUILD_S)
    except SandboxUnavailable as error:
        if "cause" not in error.facts:  # the engine is away, which is another trouble
            raise
        program = sys.argv[0] if Path(sys.argv[0]).name == "shopfloor" else "shopfloor"
        raise ImageMissing(
            f"the image {image_name()} could not be built. From packages it needs root and mmdebstrap (Debian, "
            f"Ubuntu). Type:\n\n  {_INSTALL}\n  sudo --preserve-env=DOCKER_HOST {shlex.quote(program)} image build\n\n"
            f"From its Dockerfile it needs the base image from a registry, and that failed: {error.facts['cause']}",
            image=image_name(),
        ) from error


def _context() -> bytes:
    folder = files("shopfloor.engine.sandbox").joinpath("image_files")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in _RECIPE:
            _add(tar, name, folder.joinpath(name).read_bytes())
    return buffer.getvalue()


async def _debootstrap(layer: Path) -> None:
    """A root file system as a tar, from the places that the host's own apt is set to."""
    suite, sources = own_release()
    recipe = files("shopfloor.engine.sandbox").joinpath("image_files", "customize.sh")
    with as_file(recipe) as customize:
        command = [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages())}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            f'--customize-hook=sh {customize} "$1"',
            suite or _SUITE,
            str(layer),
            *(str(source) for source in sources),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(_BUILD_S):
                output, _ = await process.communicate()
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()
            raise
    if process.returncode:
        tail = output.decode("utf-8", "replace")[-2000:]
        raise ImageMissing(f"mmdebstrap failed; the end of its output:\n{tail}", status=process.returncode)


def _save_format(layer: Path, archive: Path) -> Path:
    """The layer with its configuration, as `docker save` writes it. Source: Docker Image Specification v1.2."""
    with layer.open("rb") as file:
        diff_id = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(_config(diff_id)).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [image_name()], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        for member, content in ((name, config), ("manifest.json", manifest)):
            _add(tar, member, content)
        tar.add(layer, "layer.tar")
    return archive


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _config(diff_id: str) -> dict[str, Any]:
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {
            "User": "10001:10001",
            "WorkingDir": "/workspace",
            "Env": ["HOME=/tmp", "LANG=C.UTF-8"],
            "Cmd": ["bash"],
            "Labels": {LABEL: image_content()},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created_by": "mmdebstrap"}],
    }


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, 1 << 20):
            yield piece


async def _main() -> None:
    from shopfloor.engine.sandbox.settings import default_engine_url

    engine = Engine(default_engine_url())
    try:
        print(await ensure_image(engine), image_name())  # noqa: T201 - `python -m` talks to a person
    finally:
        await engine.aclose()


if __name__ == "__main__":
    asyncio.run(_main())
