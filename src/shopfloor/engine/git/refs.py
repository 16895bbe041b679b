"""Names of branches, tags and commits: which are valid, and what a server means by one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shopfloor.engine.git.command import Bounds, Git
from shopfloor.engine.git.errors import RefNameRefused, RefUnknown, explain
from shopfloor.engine.git.urls import Credentials, RepositoryUrl

SHA = re.compile(r"[0-9a-f]{40}")
# Source: git-check-ref-format(1).
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|\.(lock)?(/|$)|^[/-]|/$|^@$")
_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """What a server has under a name."""

    name: str  # a full ref name, or a full commit id
    sha: str  # of the commit; for a name, what it was when asked


def check_ref_name(name: str) -> str:
    """`name`, if Git allows it for a branch or tag. Raises: RefNameRefused."""
    if not name or len(name) > _MAX_CHARS or _FORBIDDEN.search(name):
        raise RefNameRefused(
            f"Git allows no branch or tag named {name[:_MAX_CHARS]!r} (or it is longer than {_MAX_CHARS} characters)."
        )
    return name


def check_branch_name(name: str) -> str:
    """A branch that the platform may push to. Raises: RefNameRefused."""
    check_ref_name(name)
    if name.startswith("refs/") or name.upper() == "HEAD" or SHA.fullmatch(name):
        raise RefNameRefused(f"Write the branch alone, such as `shopfloor/job-7`, not {name!r}.")
    return name


async def find_ref(git: Git, target: RepositoryUrl, ref: str | None, credentials: Credentials | None) -> RemoteRef:
    """Ask the server what `ref` is; this also proves that the credentials may read the repository.

    `ref` is a branch, a tag, a full `refs/...` name, a full commit id, or None for the default branch.
    Raises: RefUnknown, RefNameRefused, CredentialsRefused, RepositoryUnknown, RemoteUnavailable.
    """
    is_sha = ref is not None and SHA.fullmatch(ref.lower()) is not None
    names = ["HEAD"] if ref is None or is_sha else _candidates(check_ref_name(ref))
    output = await git.run(
        ["ls-remote", "--quiet", "--", target.url, *names, *(f"{name}^{{}}" for name in names)],
        config=target.config,
        env=target.environment(credentials),
        protocols=target.checked.scheme,
        bounds=Bounds(timeout_s=min(60.0, git.settings.transfer_timeout_s)),
    )
    if output.exit_code != 0:
        raise explain(output.stderr, target.url)
    if ref is not None and is_sha:
        return RemoteRef(ref.lower(), ref.lower())
    lines = output.stdout.decode(errors="replace").splitlines()
    shas = {name: sha for sha, _, name in (line.partition("\t") for line in lines)}
    for name in names:
        if name in shas:
            return RemoteRef(name, shas.get(f"{name}^{{}}", shas[name]))
    raise unknown_ref(target.url, ref)


def unknown_ref(url: str, ref: str | None) -> RefUnknown:
    """The error for a name that the server does not have."""
    if ref is None:
        return RefUnknown(f"{url} has no default branch: is it empty? Push a commit to it first.", repository=url)
    return RefUnknown(
        f"{url} has no branch, tag or commit {ref!r}. A commit has to be named by all of its 40 digits.",
        repository=url,
        ref=ref,
    )


def _candidates(ref: str) -> list[str]:
    return [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
