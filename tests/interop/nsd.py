"""An nsd of a test's own, with a DNS of its own: a root, and zones below it, made and signed (ldns) at test time. It
listens on loopback, at a port that is free, as the only name server there is; its root's key is the anchor."""
import hashlib
import os
import socket
import subprocess
import time

from slapd import free_port

NSD = "/usr/sbin/nsd"
START_S, TRIES = 30, 10
HEAD = "$ORIGIN {origin}\n$TTL 300\n@ IN SOA {ns} hostmaster.example.net. 1 3600 600 86400 60\n@ IN NS {ns}\n"
CONFIG = """
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  database: ""
  username: ""
  chroot: ""
  pidfile: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  logfile: "{folder}/log"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"""


def owner(address, label="_openpgpkey"):
    """RFC 7929 section 3, RFC 8162 section 3."""
    local, domain = address.rsplit("@", 1)
    return "%s.%s.%s." % (hashlib.sha256(local.encode()).hexdigest()[:56], label, domain)


def openpgpkey(address, key):
    return "%s IN TYPE61 \\# %d %s" % (owner(address), len(key), key.hex())


def smimea(address, data, usage=3, selector=0, matching=0):
    data = bytes([usage, selector, matching]) + data
    return "%s IN TYPE53 \\# %d %s" % (owner(address, "_smimecert"), len(data), data.hex())


def run(*arguments, folder):
    done = subprocess.run(arguments, cwd=folder, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (arguments[0], done.stderr.decode(errors="replace")))
    return done.stdout.decode()


class Zone:
    """`records` are lines; `signs`: "good", "expired", or None; `spoil` changes the text of the signed zone."""

    def __init__(self, name, records=(), signs="good", spoil=None, options=()):
        self.name, self.records, self.signs, self.spoil = name, list(records), signs, spoil
        self.options = list(options)

    def make(self, folder, nameserver="ns.example.net."):
        """Writes the zone; what its parent has of it."""
        origin = self.name if self.name == "." else self.name + "."
        file = os.path.join(folder, "zone-" + (self.name if self.name != "." else "root"))
        text = HEAD.format(origin=origin, ns=nameserver) + "\n".join(self.records) + "\n"
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        above = ["%s IN NS %s" % (origin, nameserver)]
        if self.signs is not None:
            now = int(time.time())
            begin, end = (now - 3600, now + 86400) if self.signs == "good" else (now - 20 * 86400, now - 10 * 86400)
            key = run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", origin, folder=folder).strip()
            run("ldns-signzone", *self.options, "-i", str(begin), "-e", str(end), "-o", origin, "-f", file, file, key,
                folder=folder)
            with open(os.path.join(folder, key + ".ds"), encoding="utf-8") as ds:
                above.append(ds.read().strip())
            if self.spoil:
                with open(file, encoding="utf-8") as signed:
                    text = signed.read()
                changed = self.spoil(text)
                assert changed != text
                with open(file, "w", encoding="utf-8") as out:
                    out.write(changed)
        return file, above


class Nsd:
    def __init__(self, world, zones):
        self.folder = os.path.join(world.folder, "nsd%d" % world.count())
        os.makedirs(self.folder)
        self.process, self.port = None, None
        root, self.files = Zone(".", ["ns.example.net. IN A 127.0.0.1"]), []
        for zone in zones:
            file, above = zone.make(self.folder)
            self.files.append((zone.name, file))
            root.records += above
        file, above = root.make(self.folder)
        self.files.append((".", file))
        self.anchor = os.path.join(self.folder, "anchor")
        with open(self.anchor, "w", encoding="utf-8") as out:
            out.write(above[1] + "\n")
        world.add(self.stop)
        self.start()

    def start(self):
        """It takes no port 0, so a free one is looked for, and another if somebody was quicker."""
        config = os.path.join(self.folder, "conf")
        for _ in range(TRIES):
            self.port = self.port or free_port()
            with open(config, "w", encoding="utf-8") as out:
                out.write(CONFIG.format(port=self.port, folder=self.folder))
                for name, file in self.files:
                    out.write('zone:\n  name: "%s"\n  zonefile: "%s"\n' % (name, file))
            self.process = subprocess.Popen([NSD, "-d", "-c", config], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
            if self.answers():
                return
            self.stop()
            self.port = None
        raise AssertionError("nsd does not start: " + self.log())

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def answers(self):
        """Once it answers one question it has read its zones."""
        question = b"\0\1\0\0\0\1\0\0\0\0\0\0\0\0\6\0\1"
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                    client.sendall(len(question).to_bytes(2, "big") + question)
                    if client.recv(2):
                        return True
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def server(self):
        return "127.0.0.1@%d" % self.port

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        self.process = None
