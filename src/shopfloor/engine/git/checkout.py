"""The repository inside a workspace: loading it, snapshots of it, and putting it back to one.

Everything here runs in the sandbox, on a repository that its agent may have prepared: what it reports is only a claim
until `bundles.fetch_untrusted` has taken the bundle. Ignored files and the agent's own commits, index and branches
are not part of a snapshot; the working tree is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

from shopfloor.engine.git.bundles import BRANCH, SNAPSHOT_REF
from shopfloor.engine.git.errors import SnapshotFailed, WorkspaceFull, quote
from shopfloor.engine.workspace import Workspace

_TIMEOUT_S = 300.0
_DISK_FULL = 28  # what the scripts exit with; the number of ENOSPC
_DATE = "@0 +0000"  # the same tree on the same commit is the same snapshot
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Shopfloor"), ("EMAIL", "shopfloor@localhost.invalid"), ("DATE", _DATE))
}
_ENVIRONMENT = _IDENTITY | {
    "LC_ALL": "C",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
}
_PRELUDE = r"""
set -euo pipefail
own=.git/shopfloor
g() {
  git --git-dir=.git --work-tree=. -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.bare=false -c gc.auto=0 \
    -c core.autocrlf=false -c core.fileMode=true -c core.splitIndex=false -c core.sparseCheckout=false "$@"
}
add_all() {
  rm -f "$GIT_INDEX_FILE.lock"
  [ -s "$GIT_INDEX_FILE" ] || g read-tree "$1"
  local said  # not a file: on a full disk nothing could be read from it
  if ! said=$(g add --all --ignore-errors -- . 2>&1 >/dev/null); then
    case $said in *'No space left'* | *'quota exceeded'*) printf '%s\n' "${said: -4000}" >&2; exit 28 ;; esac
    if ! g ls-files --error-unmatch . >/dev/null 2>&1; then rm -f "$GIT_INDEX_FILE"; g read-tree "$1"; fi
    incomplete=incomplete
  fi
}
"""
_LOAD = r"""
bundle=$1 sha=$2 keep=$3
if [ "$keep" = keep ]; then
  [ -L .git ] || chmod -R u+rwx .git 2>/dev/null || true
  rm -rf .git
fi
git init --quiet --template= --initial-branch=shopfloor .
mkdir -p "$own"
mv "$bundle" "$own/in.bundle"
take() { g fetch --quiet --no-tags --force "$own/in.bundle" "$ref:refs/shopfloor/base"; }
ref=$4
if ! take 2>"$own/errors"; then
  echo "$sha" >.git/shallow  # a bundle of this commit alone: its parents are left out on purpose
  take
fi
rm -f "$own/in.bundle"
[ "$(g rev-parse refs/shopfloor/base)" = "$sha" ]
git config user.name 'Shopfloor agent'
git config user.email 'agent@localhost.invalid'
if [ "$keep" = keep ]; then
  g update-ref refs/heads/shopfloor "$sha"
  g read-tree "$sha"
else
  g checkout --quiet --force -B shopfloor "$sha"
fi
"""
_APPLY = r"""
bundle=$1 sha=$2 ref=$3
mkdir -p "$own"
mv "$bundle" "$own/in.bundle"
g fetch --quiet --no-tags --force "$own/in.bundle" "$ref:$ref"
rm -f "$own/in.bundle"
[ "$(g rev-parse "$ref")" = "$sha" ]
"""
_RESTORE = r"""
sha=$1 incomplete=
mkdir -p "$own"
export GIT_INDEX_FILE="$PWD/$own/index"
add_all "$sha"
g read-tree --reset -u "$sha"
"""
_SNAPSHOT = r"""
previous=$1 ref=$2 incomplete=complete
mkdir -p "$own"
export GIT_INDEX_FILE="$PWD/$own/index"
add_all "$previous"
tree=$(g write-tree)
if [ "$tree" = "$(g rev-parse "$previous^{tree}")" ]; then echo unchanged; exit; fi
sha=$(g commit-tree "$tree" -p "$previous" -m Snapshot)
g update-ref "$ref" "$sha"
g bundle create --quiet --version=2 "$own/out.bundle" "$previous..$ref"
echo "$sha $(wc -c <"$own/out.bundle") $incomplete"
"""
# The last line: filters that the repository configures may have written anything before it.
_REPORT = re.compile(rb"(?:\A|\n)([0-9a-f]{40}) +([0-9]{1,15}) (complete|incomplete)\n\Z")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state of the working tree, as the sandbox tells it."""

    sha: str  # of a commit whose one parent is `previous`
    previous: str
    size_bytes: int  # of the bundle
    complete: bool  # False: some files could not be read inside and are as they were before
    chunks: AsyncIterator[bytes]  # the bundle `previous..sha`; read it before the next snapshot is made


async def load(workspace: Workspace, chunks: AsyncIterator[bytes], sha: str, *, keep_tree: bool = False) -> None:
    """Put the bundle of `bundles.create` in and check its commit out on a branch `shopfloor`.

    `keep_tree` makes a new `.git` below the files that are there, for a workspace whose own was damaged.
    Raises: SnapshotFailed, DiskFull, WorkspaceLost.
    """
    bundle = await _put(workspace, chunks)
    await _run(workspace, _LOAD, bundle, sha, "keep" if keep_tree else "fresh", BRANCH)


async def apply_increment(workspace: Workspace, chunks: AsyncIterator[bytes], sha: str) -> None:
    """Put the bundle of a later snapshot in; `restore` then goes to it. Raises: SnapshotFailed, DiskFull."""
    bundle = await _put(workspace, chunks)
    await _run(workspace, _APPLY, bundle, sha, SNAPSHOT_REF)


async def restore(workspace: Workspace, sha: str) -> None:
    """Make the working tree that of `sha`: new files go, changed and deleted ones come back, ignored ones stay.

    HEAD, the branches and the index that the agent sees are left as they are. Raises: SnapshotFailed.
    """
    await _run(workspace, _RESTORE, sha)


async def snapshot(workspace: Workspace, previous: str, *, max_bytes: int = 512 * 1024**2) -> Snapshot | None:
    """The working tree as a commit on `previous`, and its bundle; None if nothing changed. Two calls into the sandbox.

    `previous` is the last snapshot, or the commit that was loaded. HEAD, branches and the agent's index stay as they
    are. Raises: SnapshotFailed; TooLarge while `chunks` is read and passes `max_bytes`.
    """
    output = await _run(workspace, _SNAPSHOT, previous, SNAPSHOT_REF)
    if output.endswith(b"unchanged\n"):
        return None
    report = _REPORT.search(output)
    if report is None:
        raise SnapshotFailed(f"Git inside the workspace answered something else than asked: {quote(output)}")
    return Snapshot(
        sha=report[1].decode(),
        previous=previous,
        size_bytes=int(report[2]),
        complete=report[3] == b"complete",
        chunks=workspace.get(".git/shopfloor/out.bundle", max_bytes=max_bytes),
    )


async def _put(workspace: Workspace, chunks: AsyncIterator[bytes]) -> str:
    name = f".shopfloor-{uuid4().hex}.bundle"
    await workspace.put(name, chunks)
    return name


async def _run(workspace: Workspace, script: str, *arguments: str) -> bytes:
    """One script in the sandbox; nothing but fixed text and checked names goes into its command line."""
    result = await workspace.run(
        ["bash", "-c", _PRELUDE + script, "shopfloor", *arguments],
        timeout_s=_TIMEOUT_S,
        env=_ENVIRONMENT,
        max_output_bytes=65_536,
    )
    if result.ok:
        return result.output
    if result.timed_out:
        raise SnapshotFailed(f"Git inside the workspace was stopped after {_TIMEOUT_S:g} s.")
    if result.exit_code == _DISK_FULL or b"No space left" in result.output:
        raise WorkspaceFull("The workspace's disk is full: its state can't be saved. Delete large files.")
    raise SnapshotFailed(
        "Git inside the workspace failed; its .git folder may be damaged. Load the repository again over the same "
        f"files to go on. It said: {quote(result.output)}"
    )
