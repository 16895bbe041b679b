"""Secrets that must not be committed or shipped: every tracked file, or the wheels named. Exit 1 with a line each.

    python scripts/scan_secrets.py                     # what Git tracks
    python scripts/scan_secrets.py dist/shopfloor.whl  # what is in a wheel
    python scripts/scan_secrets.py --write-baseline    # after looking at each finding

The baseline (scripts/secrets_baseline.json) names the visibly fake ones that tests need, by file and hash of the line.
Source: detect-secrets, 'plugins' and 'baseline'.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).parent.parent
BASELINE = ROOT / "scripts" / "secrets_baseline.json"
# Formats of real keys, and private keys. Entropy alone cries wolf at every digest and lock file.
PLUGINS = [
    "ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "CloudantDetector",
    "DiscordBotTokenDetector", "IbmCloudIamDetector", "JwtTokenDetector",
    "MailchimpDetector", "NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector",
    "SlackDetector", "SquareOAuthDetector", "StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector",
]  # fmt: skip
# What the plug-ins don't know: Anthropic, Google, Groq, xAI, OpenRouter, Vault, and our own API keys. Of GitHub's and
# GitLab's tokens the plug-ins give the prefix alone, by which no two can be told apart.
OWN = re.compile(
    r"\b(sk-ant-[A-Za-z0-9_-]{24,}|sk-or-v1-[0-9a-f]{40,}|AIza[0-9A-Za-z_-]{35}|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}"
    r"|hv[sb]\.[A-Za-z0-9_-]{24,}|github_pat_[A-Za-z0-9_]{40,}|gh[pousr]_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20,}|sf_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{38})"
)
FAKE = re.compile(r"fake|example|EXAMPLE|0{8}|A{8}|x{8}|1234567890", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Finding:
    """Something that looks like a secret. The secret itself is never written."""

    file: str
    line: int
    kind: str
    hash: str  # of the whole line: some plug-ins tell no more of a secret than how it begins

    @property
    def allowed_as(self) -> list[str]:
        """How the baseline names it."""
        return [self.file, self.kind, self.hash]


def main() -> int:
    """1 if anything was found that the baseline doesn't have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="*", type=Path, help="wheels to look into, instead of the tracked files")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--write-baseline", action="store_true")
    arguments = parser.parse_args()
    if arguments.wheel:
        found = [finding for wheel in arguments.wheel for finding in _in_wheel(wheel)]
    else:
        found = list(_scan(arguments.root, _tracked(arguments.root)))
    if arguments.write_baseline:
        BASELINE.write_text(
            json.dumps(sorted(each.allowed_as for each in set(found)), indent=2) + "\n", encoding="utf-8"
        )
        print(f"{len(found)} findings are allowed from now on: {BASELINE.relative_to(ROOT)}")
        return 0
    allowed = json.loads(BASELINE.read_text(encoding="utf-8"))
    fresh = sorted(each for each in set(found) if each.allowed_as not in allowed)
    for each in fresh:
        print(f"{each.file}:{each.line}: looks like a secret ({each.kind})")
    if fresh:
        print(
            "Take them out and revoke them. A fake one is made visibly so, or allowed: scan_secrets.py --write-baseline"
        )
    return bool(fresh)


def _tracked(root: Path) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [name for name in listing.split("\0") if name and name != "scripts/secrets_baseline.json"]


def _in_wheel(wheel: Path) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        names = [str(file.relative_to(folder)) for file in Path(folder).rglob("*") if file.is_file()]
        yield from _scan(Path(folder), names)


def _scan(root: Path, names: Iterable[str]) -> Iterator[Finding]:
    with transient_settings({"plugins_used": [{"name": name} for name in PLUGINS]}):
        for name in names:
            file = root / name
            if not file.is_file() or file.is_symlink():
                continue
            text = file.read_bytes()
            if b"\0" in text[:8_192]:
                continue
            lines = text.decode("utf-8", "replace").split("\n")
            yield from _own(name, lines)
            for secret in scan_file(str(file)):
                if not FAKE.search(secret.secret_value or ""):
                    yield Finding(name, secret.line_number, secret.type, _hash(lines[secret.line_number - 1]))


def _own(name: str, lines: list[str]) -> Iterator[Finding]:
    for number, line in enumerate(lines, 1):
        if any(not FAKE.search(match[0]) for match in OWN.finditer(line)):
            yield Finding(name, number, "key of a model provider, a forge, Vault or Shopfloor", _hash(line))


def _hash(line: str) -> str:
    return sha256(line.strip().encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
