"""A network of the test program's own: every port is free, also those below 1024, and names are what the test says.

The program goes into namespaces of its own (user, network, mounts), so nothing outside notices; enter() comes before
there are threads. A name server of a few lines answers at the only address that /etc/resolv.conf has there."""
import ctypes
import fcntl
import os
import socket
import struct
import threading
import unittest

NEW_MOUNTS, NEW_USER, NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
MOUNT_BIND, MOUNT_PRIVATE, MOUNT_ALL = 0x1000, 0x40000, 0x4000
SEARCHED = "searched.example"  # which resolvers try behind a name that does not exist
SET_FLAGS, IS_UP = 0x8914, 1


def _call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "%s: %s" % (name, os.strerror(error)))


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def enter(folder):
    """Skips the tests where the machine lets nobody have namespaces."""
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", NEW_USER | NEW_NETWORK | NEW_MOUNTS)
    except OSError as error:
        raise unittest.SkipTest("no namespaces here: %s" % error) from error
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", "%d %d 1" % (user, user))
    _write("/proc/self/gid_map", "%d %d 1" % (group, group))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", IS_UP))
    _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
    names = os.path.join(folder, "resolv.conf")
    _write(names, "nameserver 127.0.0.1\nsearch %s\n" % SEARCHED)
    _call("mount", b"none", b"/", None, MOUNT_PRIVATE | MOUNT_ALL, None)
    _call("mount", names.encode(), os.path.realpath("/etc/resolv.conf").encode(), None, MOUNT_BIND, None)


def bind(file, path):
    """`file` is what everybody reads at `path` from now on, after enter()."""
    _call("mount", file.encode(), os.path.realpath(path).encode(), None, MOUNT_BIND, None)


class Names(threading.Thread):
    """Answers for `hosts` (name: IPv4 address), says of all others that they do not exist, and nothing for those whose
    address is None. Keeps what it was asked."""

    def __init__(self, hosts):
        super().__init__(daemon=True)
        self.hosts, self.asked = hosts, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.start()

    def run(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            if not question:
                return
            answer = self.answer(question)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode("latin-1").lower())
            at += 1 + question[at]
        name, kind = ".".join(labels), question[at + 2]
        self.asked.append(name)
        known = name in self.hosts
        if known and self.hosts[name] is None:
            return None
        records = [self.hosts[name]] if known and kind == 1 else []
        head = question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(records), 0, 0)
        body = question[12:at + 5]
        for address in records:
            body += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
        return head + body

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", 53))
        self.join()
        self.socket.close()
