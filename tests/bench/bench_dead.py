#!/usr/bin/python3
"""RCPT while sources of keys are dead, in a network of its own (ports and names that only there are free).

Usage: bench_dead.py DEADLINE
Prints, in JSON, a list: what is dead, seconds of RCPT, and the seconds after which it should be over, of which
bench_smime.py makes lines.
"""
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "e2e"))
import harness  # noqa: E402
import netspace  # noqa: E402

RULES = 'rule "all" { encrypt = when-possible  sign = never }'
# A name for each way of being dead. "deaf": its queue is full, so that the kernel answers no SYN.
HOSTS = {"openpgpkey.silent.example": "127.0.0.2", "openpgpkey.deaf.example": "127.0.0.3",
         "openpgpkey.unnamed.example": None, "keys.example": "127.0.0.2"}
DEAF, SILENT_DNS, FULL = "127.0.0.3", "127.0.0.5", 8
# Of some zone: nobody answers anyway.
ANCHOR = ". IN DS 1 13 2 " + "00" * 32 + "\n"
WKD = 'wkd {\n  timeout = %d\n  hosts = { "openpgpkey.silent.example", "openpgpkey.deaf.example" }\n}\n'
KEYSERVER = 'keyserver "keys" {\n  url = "hkps://keys.example"\n  timeout = %d\n}\n'
DANE = 'dane {\n  timeout = %d\n  anchor = "{anchor}"\n  servers = "' + SILENT_DNS + '@53"\n}\n'
# (what is dead, sources, the recipient's domain, deadlines, find_timeout)
CASES = (("a silent WKD host", {"wkd": WKD}, "silent.example", 1, None),
         ("an unreachable WKD host", {"wkd": WKD}, "deaf.example", 1, None),
         ("a WKD host's name server", {"wkd": WKD}, "unnamed.example", 1, None),
         ("a keyserver", {"keyserver": KEYSERVER}, "silent.example", 1, None),
         ("a DNS server (DANE)", {"dane": DANE}, "silent.example", 1, None),
         ("WKD and DANE (together)", {"wkd": WKD, "dane": DANE}, "silent.example", 1, None),
         ("WKD, then a keyserver", {"wkd": WKD, "keyserver": KEYSERVER}, "silent.example", 2, None),
         ("the same, find_timeout", {"wkd": WKD, "keyserver": KEYSERVER}, "silent.example", 1.5, 1.5))


class Dead(harness.World):
    def runTest(self):
        pass

    def measure(self, sources, domain, deadline, find_timeout):
        anchor = os.path.join(self.folder, "anchor")
        with open(anchor, "w", encoding="ascii") as file:
            file.write(ANCHOR)
        options = "sources = { %s }\n" % ", ".join('"%s"' % name for name in sources)
        options += "".join(text % deadline for text in sources.values()).replace("{anchor}", anchor)
        if find_timeout:
            options += "find_timeout = %d\n" % find_timeout
        proxy = harness.Proxy(self, harness.RefServer(self, "s%d" % self.count(), tls="none"), rules=RULES,
                              options=options)
        with harness.Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            began = time.monotonic()
            code, answer = client.command("RCPT TO:<erin@%s>" % domain)
            took = time.monotonic() - began
        if code != 250 or "did not answer" in proxy.log():
            raise AssertionError("%d %s\n%s" % (code, answer, proxy.log()[-4000:]))
        proxy.close()
        return took


def main():
    deadline = int(sys.argv[1])
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="pv", dir="/tmp")
        stack.callback(shutil.rmtree, folder, True)
        try:
            netspace.enter(folder)
        except unittest.SkipTest as why:
            print("bench_dead: %s" % why, file=sys.stderr)
            print("[]")
            return
        stack.callback(netspace.Names(HOSTS).close)
        stack.enter_context(socket.create_server(("127.0.0.2", 443)))
        deaf = stack.enter_context(socket.create_server((DEAF, 443), backlog=0))
        for _ in range(FULL):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((SILENT_DNS, 53))
        world = Dead()
        try:
            world.setUp()
            print(json.dumps([
                (name, world.measure(sources, domain, deadline, wait and wait * deadline), times * deadline)
                for name, sources, domain, times, wait in CASES]))
        finally:
            world.doCleanups()
            harness.close_keys()


if __name__ == "__main__":
    main()
