"""Makes sure that a Docker engine answers: uses the one that runs, else installs and starts one of our own.

start [FOLDER]   prints `export DOCKER_HOST=...`; exit 3 with what to type when this machine needs a person
stop [FOLDER]    stops the engine that `start` started, by its pid file, and no other
status           the address that answers, or exit 3

Standard library only: it runs before anything of ours is installed.
"""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/var/lib/shopfloor/engine")
USUAL = ("unix:///var/run/docker.sock", "unix:///run/docker.sock")
PROGRAMS = {"docker.io": "dockerd", "mmdebstrap": "mmdebstrap", "e2fsprogs": "mkfs.ext4", "iptables": "iptables"}
PACKAGES = tuple(PROGRAMS)
FOR_THE_IMAGE = ("mmdebstrap", "e2fsprogs")
START_S = 60
STOP_S = 30
NEEDS_A_PERSON = 3


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=5)
        self._path = path

    def connect(self) -> None:
        """Dial the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self._path)


def main(arguments: list[str]) -> int:
    """The exit code."""
    verb = arguments[0] if arguments else "start"
    folder = Path(arguments[1]) if len(arguments) > 1 else FOLDER
    verbs = {"start": start, "stop": stop, "status": lambda _: status()}
    if verb not in verbs:
        tell(__doc__ or "")
        return 2
    return verbs[verb](folder.absolute())


def start(folder: Path) -> int:
    """Find one or make one."""
    found = find(folder)
    if found is not None and os.geteuid() == 0 and is_debian():
        install(FOR_THE_IMAGE)  # if that fails the image is built another way
    if found is None:
        problem = why_not()
        if problem:
            tell(problem)
            return NEEDS_A_PERSON
        if not install(PACKAGES):
            return NEEDS_A_PERSON
        found = find(folder) or launch(folder)
    if found is None:
        return NEEDS_A_PERSON
    print(f"export DOCKER_HOST={shlex.quote(found)}")
    return 0


def stop(folder: Path) -> int:
    """End our own engine."""
    pid = own_pid(folder)
    if pid is None:
        tell(f"no engine of ours runs from {folder}: nothing was stopped")
        return 0
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_S
    while own_pid(folder) is not None:
        if time.monotonic() > until:
            tell(f"the engine (process {pid}) did not end within {STOP_S} s; its log: {folder / 'dockerd.log'}")
            return 1
        time.sleep(0.1)
    (folder / "dockerd.pid").unlink(missing_ok=True)
    return 0


def status() -> int:
    """Which one answers."""
    found = find(FOLDER)
    print(found or "no Docker engine answers")
    return 0 if found else NEEDS_A_PERSON


def find(folder: Path) -> str | None:
    """The first that answers: DOCKER_HOST, the usual sockets, ours, then those of every dockerd that runs here."""
    own = f"unix://{folder / 'docker.sock'}"
    for url in (os.environ.get("DOCKER_HOST", ""), *USUAL, own, *running()):
        if url and answers(url):
            return url
    return None


def answers(url: str) -> bool:
    """It is an engine, and alive."""
    try:
        if url.startswith("unix://"):
            connection: http.client.HTTPConnection = Unix(url.removeprefix("unix://"))
        else:
            connection = http.client.HTTPConnection(url.partition("://")[2], timeout=5)
        connection.request("GET", "/_ping")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def running() -> list[str]:
    """The unix sockets that the dockerd processes of this machine were told to listen on."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if Path(words[0]).name == "dockerd":
            found += [word.removeprefix("--host=") for word in words if "unix://" in word] or [USUAL[0]]
    return found


def why_not() -> str:
    """What keeps us from starting one; empty if nothing does."""
    if running():
        return (
            "a dockerd runs on this machine but does not answer, and a second one in the same network would break it:\n"
            "restart it (systemctl restart docker), or set DOCKER_HOST to its socket, then try again."
        )
    if not is_debian() and not shutil.which("dockerd"):
        return (
            "no Docker engine answers. Install one for your distribution (https://docs.docker.com/engine/install/),\n"
            "start it, then try again."
        )
    if os.geteuid() != 0:
        return (
            "no Docker engine answers, and starting one needs root. Type:\n\n"
            f"  sudo apt-get install -y {' '.join(PACKAGES)}\n"
            "  sudo systemctl start docker || sudo scripts/engine start\n"
            "  sudo usermod -aG docker $USER    # then sign in again\n"
        )
    return ""


def is_debian() -> bool:
    """Debian, Ubuntu and what is made from them. Source: os-release(5)."""
    file = Path("/etc/os-release")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith(("ID=", "ID_LIKE="))]
    return not {"debian", "ubuntu"}.isdisjoint(" ".join(names).split())


def install(packages: tuple[str, ...]) -> bool:
    """Those that are missing, without letting them start anything where there is no systemd."""
    path = "/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")
    missing = [package for package in packages if not shutil.which(PROGRAMS[package], path=path)]
    if not missing:
        return True
    if not shutil.which("apt-get"):
        tell(f"these are missing and there is no apt-get to install them: {' '.join(missing)}")
        return False
    tell(f"installing {' '.join(missing)} with apt-get")
    policy = Path("/usr/sbin/policy-rc.d")
    held = not policy.exists() and not Path("/run/systemd/system").exists()
    if held:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *missing]):
            done = subprocess.run(["apt-get", *command], env=environment, stdout=sys.stderr, check=False)
            if done.returncode:
                tell(f"`apt-get {' '.join(command)}` failed: see above, mend it and try again")
                return False
    finally:
        if held:
            policy.unlink(missing_ok=True)
    return True


def launch(folder: Path) -> str | None:
    """Our own engine, with its data, socket and pid file in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    url = f"unix://{folder / 'docker.sock'}"
    command = [
        "dockerd", f"--host={url}", f"--data-root={folder / 'data'}", f"--exec-root={folder / 'run'}",
        f"--pidfile={folder / 'dockerd.pid'}", "--log-level=warn", *network(), *storage(folder),
    ]  # fmt: skip
    path = "/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")
    log = folder / "dockerd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, "PATH": path}, cwd="/",
        )  # fmt: skip
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if answers(url):
            tell(f"started a Docker engine (process {process.pid}, data in {folder})")
            return url
        if process.poll() is not None:
            break
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    tell(f"dockerd did not start; the end of {log}:\n{tail}\nIt needs cgroups and the right to mount.")
    return None


def network() -> list[str]:
    """Sandboxes have no network, so the engine needs no bridge; one that is there already is left as it is."""
    if Path("/sys/class/net/docker0").exists():
        return ["--iptables=false", "--ip6tables=false"]
    return ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]


def storage(folder: Path) -> list[str]:
    """Overlay can't lie on overlay: there the slower driver that copies."""
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False)
    return ["--storage-driver=vfs"] if "overlay" in done.stdout else []


def own_pid(folder: Path) -> int | None:
    """Of the dockerd that runs from this folder; a reused process id is told by its command line."""
    try:
        pid = int((folder / "dockerd.pid").read_text(encoding="ascii"))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except (OSError, ValueError):
        return None
    return pid if f"--data-root={folder / 'data'}" in words else None


def tell(text: str) -> None:
    """To the person; stdout is for the shell."""
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
