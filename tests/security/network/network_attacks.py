"""Runs inside: tries every way out that is not the proxy, prints {attack: "done" or the error's name}.

Ports of the host's listeners and the name of its abstract socket are filled in by the test.
"""

import errno
import fcntl
import json
import socket
import struct
from pathlib import Path

TCP_PORT, UDP_PORT, ABSTRACT = 0, 0, ""  # FILLED IN
ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.connect(address)


def datagram(
    family, address, data=b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06secret\x04evil\x00\x00\x01\x00\x01"
):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(data, address)
        if address[1] == UDP_PORT:
            try:
                assert sock.recv(100) == b"heard"
            except TimeoutError:
                raise OSError(errno.ENOMSG, "nobody heard it") from None


@attack
def tcp_to_a_public_address():
    connect(socket.AF_INET, ("192.88.99.1", 443))


@attack
def tcp_to_the_metadata_service():
    connect(socket.AF_INET, ("169.254.169.254", 80))


@attack
def tcp_to_the_gateway_of_docker():
    connect(socket.AF_INET, ("172.17.0.1", 22))


@attack
def tcp_to_the_inner_network():
    connect(socket.AF_INET, ("10.0.0.1", 443))


@attack
def tcp_to_the_loopback_of_the_host():
    connect(socket.AF_INET, ("127.0.0.1", TCP_PORT))


@attack
def tcp_to_the_host_by_the_address_of_no_host():
    connect(socket.AF_INET, ("0.0.0.0", TCP_PORT))


@attack
def tcp_to_the_host_by_a_mapped_address():
    connect(socket.AF_INET6, ("::ffff:127.0.0.1", TCP_PORT))


@attack
def dns_to_a_public_server():
    datagram(socket.AF_INET, ("8.8.8.8", 53))


@attack
def dns_to_a_watched_server():
    datagram(socket.AF_INET, ("127.0.0.1", UDP_PORT))


@attack
def multicast():
    datagram(socket.AF_INET, ("224.0.0.251", 5353))


@attack
def the_abstract_socket_of_the_host():
    connect(socket.AF_UNIX, "\0" + ABSTRACT)


@attack
def a_listed_network_card():
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    up = [name for name in names if flags_of(name) & 1]
    if not up:
        raise OSError(errno.ENODEV, "none is up")


@attack
def a_default_route():
    lines = Path("/proc/net/route").read_text().splitlines()[1:]
    if not [line for line in lines if line.split()[1] == "00000000"]:
        raise OSError(errno.ENETUNREACH, "none")


def flags_of(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, 0x8913, struct.pack("16sH14x", name.encode(), 0))
    return struct.unpack("16sH14x", answer)[1]


def main():
    found = {}
    for name, function in ATTACKS.items():
        try:
            function()
            found[name] = "done"
        except TimeoutError:
            found[name] = "done"  # it left: only nobody answered
        except OSError as error:
            reached = error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ECONNRESET) and ROUTED.get(name)
            found[name] = "done" if reached else errno.errorcode.get(error.errno, str(error.errno))
    print(json.dumps(found))


# An answer from out there, even a refusal, shows that the packet left.
ROUTED = {
    name: True for name in ATTACKS if "public" in name or "metadata" in name or "gateway" in name or "inner" in name
}
main()
