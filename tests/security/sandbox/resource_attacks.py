"""Attacks on the machine's resources: prints {attack: how far it got} as JSON; run in the sandbox and in a plain container."""

# A program for the inside of a container, in the kernel's own words: descriptors, modes, plain paths.
# ruff: noqa: E501, PTH108, PTH116, PTH123, PTH208, SIM105, UP031

import ctypes
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import time

ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


@attack
def fork_bomb():
    """How many children can live at once, 400 are tried."""
    children = []
    try:
        for _ in range(400):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(children)


@attack
def memory_bomb():
    """MiB that a process could fill, 900 are tried."""
    program = (
        "import sys\nheld=[]\nfor n in range(90):\n held.append(b'x' * (10 << 20)); print((n + 1) * 10, flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    lines = done.stdout.split()
    return int(lines[-1]) if lines else 0


def filled(folder, mib):
    """MiB that could be written to a folder."""
    written = 0
    try:
        for number in range(0, mib, 8):
            with open("%s/fill-%d" % (folder, number), "wb") as file:
                for _ in range(8):
                    file.write(b"x" * (1 << 20))
                    file.flush()
                    written += 1
    except OSError:
        pass
    for name in os.listdir(folder):
        if name.startswith("fill-"):
            os.unlink(folder + "/" + name)
    return written


@attack
def disk_fill():
    return filled("/workspace", 160)


@attack
def tmpfs_fill():
    return filled("/tmp", 160)


def inodes(folder, count):
    """Empty files that could be made."""
    made = 0
    try:
        for number in range(count):
            os.close(os.open("%s/i-%d" % (folder, number), os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError:
        pass
    for number in range(made):
        os.unlink("%s/i-%d" % (folder, number))
    return made


@attack
def inode_fill():
    return inodes("/workspace", 6000)


@attack
def tmpfs_inode_fill():
    return inodes("/tmp", 70_000)


@attack
def big_file():
    """MiB of one file, 60 are tried."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written = 0
    try:
        with open("/workspace/big", "wb") as file:
            for _ in range(60):
                file.write(b"x" * (1 << 20))
                file.flush()
                written += 1
    except OSError:
        pass
    os.unlink("/workspace/big")
    return written


@attack
def sparse_file():
    """GiB of a file without content."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("/workspace/sparse", "wb") as file:
        try:
            file.truncate(8 << 30)
        except OSError:
            pass
    size = os.stat("/workspace/sparse").st_size
    os.unlink("/workspace/sparse")
    return size >> 30


@attack
def descriptors():
    """Files open at once, 6000 are tried."""
    held = []
    try:
        while len(held) < 6000:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for fd in held:
        os.close(fd)
    return len(held)


@attack
def core_file():
    """Bytes of a core file that may be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    return 0 if (soft, hard) == (0, 0) else 1


@attack
def locked_memory():
    """MiB that can be locked, 8 are tried."""
    area = mmap.mmap(-1, 8 << 20)
    libc = ctypes.CDLL(None, use_errno=True)
    return (
        0
        if libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(area))), ctypes.c_size_t(8 << 20))
        else 8
    )


@attack
def zombies():
    """Dead children of a parent that went away, still in the table of processes."""
    for _ in range(40):
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0:
                time.sleep(0.05)
                os._exit(0)
            os._exit(0)
        os.waitpid(pid, 0)
    time.sleep(0.5)
    states = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    states.append(file.read().rpartition(")")[2].split()[0])
            except OSError:
                continue
    return states.count("Z")


json.dump({name: function() for name, function in ATTACKS.items()}, sys.stdout)
