"""Bundles that a sandbox could make. The control is a plain git that takes them, or the same bundle untouched."""

import hashlib
import os
import struct
import zlib
from pathlib import Path

import pytest

from engine.git.git_fixtures import IDENTITY, LOOPBACK, Round, plain_git
from shopfloor.engine.git.bundles import SNAPSHOT_REF, fetch_untrusted
from shopfloor.engine.git.checkout import snapshot
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.engine.git.diff import diff
from shopfloor.engine.git.errors import BundleRefused, GitFailed, GitTimeout


@pytest.fixture
async def honest(round_trip: Round) -> tuple[str, bytes]:
    """A bundle as it should be; `(sha, bytes)`."""
    await round_trip.workspace.write_file("new", b"new content\n" * 100)
    taken = await snapshot(round_trip.workspace, round_trip.base.sha)
    return taken.sha, b"".join([piece async for piece in taken.chunks])


async def take(round_trip: Round, sha: str, data: bytes) -> str:
    bundle = round_trip.spool / "in.bundle"
    bundle.write_bytes(data)
    return await fetch_untrusted(round_trip.git, bundle, round_trip.results, expected=sha, previous=round_trip.base.sha)


def resealed(data: bytes) -> bytes:
    """The same bundle with the pack's checksum made right again."""
    start = data.index(b"\n\n") + 2
    return data[:-20] + hashlib.sha1(data[start:-20]).digest()


def counting(data: bytes, objects: int) -> bytes:
    at = data.index(b"PACK") + 8
    return resealed(data[:at] + struct.pack(">I", objects) + data[at + 4 :])


REF = SNAPSHOT_REF.encode()
V3 = b"# v3 git bundle\n@filter=blob:none\n"
MALFORMED = {
    "empty": lambda data: data[:0],
    "not-a-bundle": lambda data: b"PK\x03\x04" + data,
    "header-only": lambda data: data[: data.index(b"PACK")],
    "no-end-of-header": lambda data: data[: data.index(b"\n\n")],
    "truncated": lambda data: data[: len(data) // 2],
    "last-byte-missing": lambda data: data[:-1],
    "bytes-behind-the-pack": lambda data: data + b"x" * 64,
    "flipped-byte": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "flipped-byte-resealed": lambda data: resealed(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]),
    "version-3-with-filter": lambda data: data.replace(
        b"# v2 git bundle\n", b"# v3 git bundle\n@filter=blob:none\n", 1
    ),
    "other-ref": lambda data: data.replace(REF, b"refs/replace/" + b"1" * 40, 1),
    "head-ref": lambda data: data.replace(REF, b"HEAD", 1),
    "second-ref": lambda data: data.replace(b"\n\n", b"\n" + b"1" * 40 + b" refs/heads/main\n\n", 1),
    "ref-with-a-path": lambda data: data.replace(REF, b"refs/../../hooks/x", 1),
    "unknown-prerequisite": lambda data: data.replace(b"\n-", b"\n-" + b"1" * 40 + b" x\n-", 1),
    "junk-in-the-header": lambda data: data.replace(b"\n-", b"\njunk\n-", 1),
    "endless-header": lambda data: b"# v2 git bundle\n" + b"-" + b"1" * 100_000 + data,
    "more-objects-than-there-are": lambda data: counting(data, 400_000),
    "four-billion-objects": lambda data: counting(data, 0xFFFFFFFF),
    "no-objects": lambda data: counting(data, 0),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_bundle_is_refused(name, round_trip, honest):
    sha, data = honest
    spoilt = MALFORMED[name](data)
    assert spoilt != data
    with pytest.raises(BundleRefused):
        await take(round_trip, sha, spoilt)
    refs = plain_git("for-each-ref", "--format=%(refname)", cwd=round_trip.results)
    assert refs == "refs/shopfloor/base"
    assert await take(round_trip, sha, data) == sha  # the control: untouched, it is taken


async def test_another_commit_than_announced_is_refused(round_trip, honest):
    _, data = honest
    with pytest.raises(BundleRefused, match="another commit"):
        await take(round_trip, "1" * 40, data)


class Forge:
    """Makes objects that no `git add` would."""

    def __init__(self, round_trip: Round):
        self.repo = Path(round_trip.workspace.root)
        self.base = round_trip.base.sha

    def blob(self, content: bytes) -> str:
        return self.raw("blob", content)

    def raw(self, kind: str, content: bytes) -> str:
        return plain_git("hash-object", "-w", "-t", kind, "--literally", "--stdin", cwd=self.repo, stdin=content)

    def tree(self, *entries: tuple[str, str, str]) -> str:
        content = b"".join(
            mode.encode() + b" " + os.fsencode(name) + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries
        )
        return self.raw("tree", content)

    def commit(self, tree: str, *parents: str) -> str:
        arguments = [part for parent in parents or (self.base,) for part in ("-p", parent)]
        return plain_git("commit-tree", tree, *arguments, "-m", "x", cwd=self.repo, **IDENTITY)

    def bundle(self, sha: str, *extra: str) -> bytes:
        plain_git("update-ref", SNAPSHOT_REF, sha, cwd=self.repo)
        plain_git("bundle", "create", "-q", "out.bundle", SNAPSHOT_REF, f"^{self.base}", *extra, cwd=self.repo)
        return (self.repo / "out.bundle").read_bytes()


TREES = {
    "dot-git-folder": lambda f: f.tree(("40000", ".git", f.tree(("100755", "config", f.blob(b"x"))))),
    "dot-git-in-capitals": lambda f: f.tree(("40000", ".GIT", f.tree(("100644", "config", f.blob(b"x"))))),
    "dot-git-for-windows": lambda f: f.tree(("40000", "git~1", f.tree(("100644", "config", f.blob(b"x"))))),
    "dot-git-invisible-letter": lambda f: f.tree(("40000", ".g\u200cit", f.tree(("100644", "config", f.blob(b"x"))))),
    "dot-dot": lambda f: f.tree(("40000", "..", f.tree(("100644", "escaped", f.blob(b"x"))))),
    "slash-in-a-name": lambda f: f.tree(("100644", "../escaped", f.blob(b"x"))),
    "the-same-name-twice": lambda f: f.tree(("100644", "a", f.blob(b"1")), ("100644", "a", f.blob(b"2"))),
    "submodule-url-as-option": lambda f: f.tree(
        ("100644", ".gitmodules", f.blob(b'[submodule "m"]\n\tpath = m\n\turl = -u./payload\n'))
    ),
    "submodule-name-as-path": lambda f: f.tree(
        ("100644", ".gitmodules", f.blob(b'[submodule "../../evil"]\n\tpath = m\n\turl = https://example.org/x\n'))
    ),
    "submodule-path-as-option": lambda f: f.tree(
        ("100644", ".gitmodules", f.blob(b'[submodule "m"]\n\tpath = -x\n\turl = https://example.org/x\n'))
    ),
    "gitmodules-as-a-link": lambda f: f.tree(("120000", ".gitmodules", f.blob(b"/etc/passwd"))),
    "null-object-id": lambda f: f.tree(("160000", "sub", "0" * 40)),
}


@pytest.mark.parametrize("name", TREES)
async def test_a_tree_that_is_a_trap_is_refused(name, round_trip, tmp_path):
    forge = Forge(round_trip)
    sha = forge.commit(TREES[name](forge))
    data = forge.bundle(sha)
    plain = tmp_path / "plain.git"  # the control: git with its defaults takes it
    plain_git("clone", "-q", "--bare", str(round_trip.base.repository), str(plain), cwd=tmp_path)
    plain_git("fetch", "-q", str(round_trip.base.repository), "refs/*:refs/*", cwd=plain)
    plain_git("fetch", "-q", str(forge.repo / "out.bundle"), f"{SNAPSHOT_REF}:refs/heads/taken", cwd=plain)
    assert plain_git("rev-parse", "taken", cwd=plain) == sha

    with pytest.raises(BundleRefused):
        await take(round_trip, sha, data)


async def test_a_commit_that_stands_on_something_else_is_refused(round_trip):
    forge = Forge(round_trip)
    tree = forge.tree(("100644", "a", forge.blob(b"x")))
    orphan = plain_git("commit-tree", tree, "-m", "x", cwd=forge.repo)
    for sha in (orphan, forge.commit(tree, forge.base, orphan)):
        with pytest.raises(BundleRefused, match="stand on"):
            await take(round_trip, sha, forge.bundle(sha))
    good = forge.commit(tree)
    assert await take(round_trip, good, forge.bundle(good)) == good


async def test_a_bundle_that_leaves_objects_out_is_refused(round_trip):
    forge = Forge(round_trip)
    blob = forge.blob(b"left out")
    sha = forge.commit(forge.tree(("100644", "a", blob)))
    (forge.repo / ".git/objects" / blob[:2] / blob[2:]).unlink()
    pack = pack_of(forge, sha, plain_git("rev-parse", f"{sha}^{{tree}}", cwd=forge.repo))
    with pytest.raises(BundleRefused):
        await take(round_trip, sha, header(forge.base, sha) + pack)


async def test_a_ref_of_something_that_is_no_commit_is_refused(round_trip):
    forge = Forge(round_trip)
    blob = forge.blob(b"just a file")
    with pytest.raises(BundleRefused):
        await take(round_trip, blob, header(forge.base, blob) + pack_of(forge, blob))


async def test_a_blob_that_unpacks_to_far_more_stays_within_the_memory_limit(round_trip, tmp_path):
    size = 300 * 1024**2
    bundle, sha = zlib_bomb(round_trip, size)
    assert len(bundle) < size / 500
    round_trip.git = Git(GitSettings(outbound=LOOPBACK, max_memory_bytes=200 * 1024**2))
    try:
        await take(round_trip, sha, bundle)
    except BundleRefused:
        return  # refused within the limit, which is as good
    found = await diff(round_trip.git, round_trip.results, round_trip.base.sha, sha)
    assert [(file.path, file.binary) for file in found.files if file.status == "added"] == [("bomb", True)]


async def test_a_tree_of_ten_billion_files_ends_within_its_limits(round_trip):
    forge = Forge(round_trip)
    tree = forge.tree(*(("100644", f"f{n}", forge.blob(b"x")) for n in range(10)))
    for _ in range(9):
        tree = forge.tree(*(("40000", f"d{n}", tree) for n in range(10)))
    sha = forge.commit(tree)
    assert (
        await take(round_trip, sha, forge.bundle(sha)) == sha
    )  # a dozen objects: nothing wrong with the bundle itself
    hasty = Git(GitSettings(outbound=LOOPBACK, command_timeout_s=2.0))
    try:
        found = await diff(hasty, round_trip.results, round_trip.base.sha, sha)
    except GitTimeout:
        return
    assert found.truncated


async def test_a_path_or_option_is_no_commit_id(round_trip):
    for name in ("--output=/tmp/x", "HEAD", "refs/shopfloor/base", "-O/etc/passwd", ""):
        with pytest.raises(GitFailed, match="full commit ids"):
            await diff(round_trip.git, round_trip.results, round_trip.base.sha, name)


def header(base: str, sha: str) -> bytes:
    return f"# v2 git bundle\n-{base} x\n{sha} {SNAPSHOT_REF}\n\n".encode()


def pack_of(forge: Forge, *shas: str) -> bytes:
    (forge.repo / "list").write_text("\n".join(shas) + "\n")
    name = plain_git("pack-objects", "-q", "made", cwd=forge.repo, stdin=(forge.repo / "list").read_bytes())
    return (forge.repo / f"made-{name}.pack").read_bytes()


def zlib_bomb(round_trip: Round, size: int) -> tuple[bytes, str]:
    forge = Forge(round_trip)
    digest, packer, packed = hashlib.sha1(f"blob {size}\0".encode()), zlib.compressobj(9), bytearray()
    block = b"\0" * 1_048_576
    for _ in range(size // len(block)):
        digest.update(block)
        packed += packer.compress(block)
    packed += packer.flush()
    tree = forge.tree(("100644", "bomb", digest.hexdigest()))
    sha = forge.commit(tree)
    small = pack_of(forge, sha, tree)
    body = b"PACK" + struct.pack(">II", 2, 3) + small[12:-20] + object_header(3, size) + bytes(packed)
    return header(forge.base, sha) + body + hashlib.sha1(body).digest(), sha


def object_header(kind: int, size: int) -> bytes:
    """Source: gitformat-pack(5): three bits of type, then the size in groups of 4, 7, 7 ... bits."""
    out, byte = bytearray(), kind << 4 | size & 15
    size >>= 4
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)
