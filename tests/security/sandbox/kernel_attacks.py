"""Attacks on the kernel, run as `python3 - < this file`: prints {attack: "done" or the error} as JSON.

Each runs in a process of its own. "done" means that the kernel did it, or got as far as looking at our nonsense arguments:
both show that nothing stood in the way. It runs in the sandbox, and, as the control, in a privileged container.
"""

# A program for the inside of a container, in the kernel's own words: descriptors, modes, plain paths.
# ruff: noqa: BLE001, E501, PTH101, PTH102, PTH103, PTH106, PTH108, PTH112, PTH116, PTH123, SIM115, UP031

import ctypes
import errno
import json
import mmap
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
NUMBERS = {  # name: (x86_64, aarch64)
    "mount": (165, 40), "pivot_root": (155, 41), "unshare": (272, 97), "clone": (56, 220), "clone3": (435, 435), "setns": (308, 268),
    "chroot": (161, 51), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "personality": (135, 92), "swapon": (167, 224), "kexec_load": (246, 104), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116), "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "fanotify_init": (300, 262),
    "fsopen": (430, 430), "open_tree": (428, 428), "move_pages": (279, 239), "mbind": (237, 235), "vmsplice": (278, 75),
    "umount2": (166, 39), "mount_setattr": (442, 442), "lookup_dcookie": (212, 18), "modify_ldt": (154, None), "iopl": (172, None),
    "ioperm": (173, None), "sethostname": (170, 161), "uselib": (134, None), "process_madvise": (440, 440),
}  # fmt: skip
REACHED = {
    errno.ENOEXEC,
    errno.EFAULT,
    errno.ENOENT,
    errno.EINVAL,
    errno.ESRCH,
    errno.EBADF,
    errno.ENODEV,
    errno.ENOTBLK,
    errno.EFBIG,
}
ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def call(name, *arguments, reached=()):
    """The result of a system call; OSError if it failed in another way than `reached`."""
    number = NUMBERS[name][0 if X86 else 1]
    if number is None:
        raise OSError(errno.ENOSYS, "not on this architecture")
    ctypes.set_errno(0)
    result = LIBC.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    code = ctypes.get_errno()
    if result < 0 and code not in reached:
        raise OSError(code, os.strerror(code))
    return result


NEW = {"user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000, "network": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000,
       "cgroup": 0x02000000}  # fmt: skip
for kind, flag in NEW.items():
    ATTACKS["unshare_" + kind] = lambda flag=flag: call("unshare", flag)


def cloned(flags):
    pid = call("clone", flags | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


for kind in ("user", "mount", "network"):
    ATTACKS["clone_" + kind] = lambda kind=kind: cloned(NEW[kind])


@attack
def clone3_user():
    arguments = struct.pack("11Q", NEW["user"], 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    pid = call("clone3", arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@attack
def mount_tmpfs():
    os.makedirs("/tmp/m", exist_ok=True)
    call("mount", b"none", b"/tmp/m", b"tmpfs", 0, None)


@attack
def mount_proc():
    os.makedirs("/tmp/p", exist_ok=True)
    call("mount", b"proc", b"/tmp/p", b"proc", 0, None)


@attack
def bind_mount():
    os.makedirs("/tmp/b", exist_ok=True)
    call("mount", b"/etc", b"/tmp/b", None, 4096, None)


@attack
def remount_root_writable():
    call("mount", None, b"/", None, 32, None)


@attack
def unmount():
    call("umount2", b"/no/such", 0, reached=REACHED)


@attack
def pivot_root():
    call("pivot_root", b"/no/such", b"/no/such", reached=REACHED)


ATTACKS["new_mount_api_fsopen"] = lambda: call("fsopen", b"tmpfs", 0)
ATTACKS["new_mount_api_open_tree"] = lambda: call("open_tree", -100, b"/etc", 1)
ATTACKS["new_mount_api_mount_setattr"] = lambda: call(
    "mount_setattr", -100, b"/no/such", 0, bytes(32), 32, reached=REACHED
)
ATTACKS["setns"] = lambda: call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0)
ATTACKS["chroot"] = lambda: call("chroot", b"/")
ATTACKS["keyctl"] = lambda: call("keyctl", 0, -3, 1)
ATTACKS["add_key"] = lambda: call("add_key", b"user", b"sf", b"x", 1, -3)
ATTACKS["request_key"] = lambda: call("request_key", b"user", b"no-such", None, 0, reached={126, 2})
ATTACKS["bpf"] = lambda: call("bpf", 0, struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100), 72)
ATTACKS["perf"] = lambda: call("perf_event_open", struct.pack("IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)
ATTACKS["userfaultfd"] = lambda: call("userfaultfd", 0)
ATTACKS["io_uring"] = lambda: call("io_uring_setup", 8, ctypes.create_string_buffer(120))
ATTACKS["module_load"] = lambda: call("init_module", b"junk", 4, b"", reached=REACHED)
ATTACKS["module_load_from_file"] = lambda: call(
    "finit_module", os.open("/etc/passwd", os.O_RDONLY), b"", 0, reached=REACHED
)
ATTACKS["module_unload"] = lambda: call("delete_module", b"no_such_module", 0, reached=REACHED)
ATTACKS["swap_on"] = lambda: call("swapon", b"/no/such", 0, reached=REACHED)
ATTACKS["kexec"] = lambda: call("kexec_load", 0, 99, None, 0, reached=REACHED)
ATTACKS["process_accounting"] = lambda: call("acct", b"/no/such", reached=REACHED)
ATTACKS["quotas"] = lambda: call("quotactl", 0x800001 << 8, None, 0, None, reached=REACHED)
ATTACKS["kernel_log"] = lambda: call("syslog", 3, ctypes.create_string_buffer(100), 100)
ATTACKS["compare_processes"] = lambda: call("kcmp", os.getpid(), os.getpid(), 0, 0, 0)
ATTACKS["fanotify"] = lambda: call("fanotify_init", 0, 0)
ATTACKS["move_pages"] = lambda: call("move_pages", 0, 0, None, None, None, 0)
ATTACKS["bind_memory"] = lambda: call("mbind", 0, 0, 0, None, 0, 0)
ATTACKS["vmsplice"] = lambda: call("vmsplice", os.pipe()[1], None, 0, 0)
ATTACKS["advise_other_process"] = lambda: call("process_madvise", -1, None, 0, 0, 0, reached=REACHED)
ATTACKS["modify_ldt"] = lambda: call("modify_ldt", 0, ctypes.create_string_buffer(16), 16)
ATTACKS["io_ports"] = lambda: call("ioperm", 0x80, 1, 1)
ATTACKS["io_privilege"] = lambda: call("iopl", 3)
ATTACKS["host_name"] = lambda: call("sethostname", b"owned", 5)
ATTACKS["no_address_randomization"] = lambda: call("personality", 0x0040000)
ATTACKS["read_implies_exec"] = lambda: call("personality", 0x0400000)


@attack
def open_by_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128), 136)
    mount_id = ctypes.c_int()
    call("name_to_handle_at", -100, b"/dev", handle, ctypes.byref(mount_id), 0)
    call("open_by_handle_at", os.open("/dev", os.O_RDONLY), handle, os.O_RDONLY)


@attack
def ptrace_of_a_child():
    call("ptrace", 0, 0, 0, 0)


@attack
def ptrace_of_init():
    call("ptrace", 0x4206, 1, 0, 0)


@attack
def read_memory_of_another():
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(1)
    try:
        buffer = ctypes.create_string_buffer(8)
        local = struct.pack("PN", ctypes.addressof(buffer), 8)
        call("process_vm_readv", pid, local, 1, struct.pack("PN", ctypes.addressof(buffer), 8), 1, 0)
    finally:
        os.kill(pid, 9)


@attack
def take_descriptor_of_another():
    call("pidfd_getfd", call("pidfd_open", os.getppid(), 0), 1, 0)


@attack
def make_block_device():
    os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))


@attack
def make_kernel_memory_device():
    os.mknod("/tmp/mem", 0o20600, os.makedev(1, 1))


def opened(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


ATTACKS["socket_alg"] = lambda: opened(38, socket.SOCK_SEQPACKET)
ATTACKS["socket_vsock"] = lambda: opened(40, socket.SOCK_STREAM)
ATTACKS["socket_packet"] = lambda: opened(17, socket.SOCK_RAW, 3)
ATTACKS["socket_raw_ip"] = lambda: opened(2, socket.SOCK_RAW, 1)
ATTACKS["socket_netfilter"] = lambda: opened(16, socket.SOCK_RAW, 12)
ATTACKS["socket_audit"] = lambda: opened(16, socket.SOCK_RAW, 9)
ATTACKS["socket_kernel_events"] = lambda: opened(16, socket.SOCK_RAW, 15)
ATTACKS["socket_sock_diag"] = lambda: opened(16, socket.SOCK_RAW, 4)
ATTACKS["socket_mptcp"] = lambda: opened(2, socket.SOCK_STREAM, 262)
ATTACKS["socket_udplite"] = lambda: opened(2, socket.SOCK_DGRAM, 136)


@attack
def netlink_changes_an_interface():
    link = socket.socket(16, socket.SOCK_RAW, 0)
    body = struct.pack("BBHiII", 0, 0, 0, 1, 1, 1)  # lo, IFF_UP
    link.send(struct.pack("IHHII", 16 + len(body), 16, 5, 1, 0) + body)
    code = -struct.unpack_from("i", link.recv(4096), 16)[0]
    if code:
        raise OSError(code, os.strerror(code))


@attack
def system_call_of_32_bit():
    if not X86:
        raise OSError(errno.ENOSYS, "not on this architecture")
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    if function() != os.getpid():
        raise OSError(errno.EPERM, "refused")


def written(path, text=None):
    with open(path, "r+") as file:
        old = file.read()
        file.seek(0)
        file.write(old if text is None else text)


ATTACKS["proc_sys_core_pattern"] = lambda: written("/proc/sys/kernel/core_pattern")
ATTACKS["proc_sys_network"] = lambda: written("/proc/sys/net/ipv4/ip_forward")
ATTACKS["proc_oom_score_of_init"] = lambda: open("/proc/1/oom_score_adj", "w").write("0")


@attack
def sysrq():
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("h")


@attack
def read_kernel_memory():
    with open("/proc/kcore", "rb") as file:
        if not file.read(4):
            raise OSError(errno.EPERM, "masked")


@attack
def read_kernel_timers():
    with open("/proc/timer_list", "rb") as file:
        if not file.read(4):
            raise OSError(errno.EPERM, "masked")


@attack
def read_kernel_keys():
    with open("/proc/keys", "rb") as file:
        file.read(1)
    if os.stat("/proc/keys").st_rdev:
        raise OSError(errno.EPERM, "masked")


def remounted(path):
    """Writable, if that can be had."""
    for flags in (4096 | 32, 32):
        try:
            call("mount", None, path.encode(), None, flags, None)
        except OSError:
            continue


@attack
def cgroup_write():
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
        if os.path.isdir(root):
            remounted(root)
            os.mkdir(root + "/escape")
            os.rmdir(root + "/escape")
            return
    raise OSError(errno.ENOENT, "no cgroups here")


@attack
def sys_write():
    remounted("/sys")
    with open("/sys/class/net/lo/uevent", "w") as file:
        file.write("change")


@attack
def become_root():
    os.setuid(0)


@attack
def become_another_user():
    os.setresuid(12345, 12345, 12345)


@attack
def join_another_group():
    os.setgroups([0, 6])


@attack
def change_owner():
    path = "/tmp/owned-%d" % os.getpid()
    open(path, "w").close()
    os.chown(path, 0 if os.getuid() else 5, 0)


@attack
def raise_the_limit_of_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))


@attack
def raise_the_limit_of_core_files():
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))


@attack
def raise_priority():
    os.setpriority(os.PRIO_PROCESS, 0, -10)


@attack
def write_to_the_root_file_system():
    path = "/usr/bin/.attack"
    open(path, "w").close()
    os.unlink(path)


@attack
def read_shadow():
    open("/etc/shadow").read(1)


@attack
def set_user_id_program():
    """A program with the set-uid bit that belongs to root."""
    found = subprocess.run(
        ["find", "/usr", "/bin", "/sbin", "/opt", "/tmp", "-xdev", "-perm", "-4000", "-user", "0", "-print", "-quit"],
        capture_output=True, check=False,
    )  # fmt: skip
    if os.getuid() == 0 and not found.stdout:  # the control makes one first
        shutil.copy("/usr/bin/id", "/usr/bin/.set-uid")
        os.chmod("/usr/bin/.set-uid", 0o4755)
        os.setresuid(10001, 10001, 10001)
        if b"euid=0" in subprocess.run(["/usr/bin/.set-uid"], capture_output=True, check=False).stdout:
            return
    if not found.stdout:
        raise OSError(errno.ENOENT, "none is there")


@attack
def set_user_id_of_own_making():
    """Works where the mount honours it: then the group of the file would be taken over."""
    path = ("/workspace" if os.getuid() else "/usr/bin") + "/own-set-uid"
    shutil.copy("/usr/bin/id", path)
    os.chmod(path, 0o4755)
    if os.getuid() == 0:
        os.setresuid(10001, 10001, 10001)
    if b"euid=0" not in subprocess.run([path], capture_output=True, check=False).stdout:
        raise OSError(errno.EPERM, "ignored")


def tried(function):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = "done"
        try:
            function()
        except OSError as error:
            answer = errno.errorcode.get(error.errno, str(error))
        except Exception as error:
            answer = repr(error)
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    _, status = os.waitpid(pid, 0)
    return answer or "killed by signal %d" % (status & 127)


json.dump({name: tried(function) for name, function in ATTACKS.items()}, sys.stdout)
