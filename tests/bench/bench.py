#!/usr/bin/python3
"""make bench: what privyseal costs, as ratios to a peer that runs in turns with it.

Usage: bench.py [--json] [--quick] [--seconds N] [--only NAME]...

seal    Messages of 10 KB a second, signed and encrypted, by 1, 2, 4 and 8 mail programs at once; the peer is the same
        gpg under GPGME alone, in as many processes.
relay   The same with a rule that neither signs nor encrypts; the peer is the server that privyseal relays to, spoken to
        directly.
        Beside it: the delay of a NOOP in one more session while 8 seal, so while all keepers are busy; the peer is a
        NOOP to the server itself in the same moments, which waits for a processor as long.
idle    Memory for each of 1,000 idle sessions that have logged in (a session to the server included).
peak    The most memory while one message of 50 MB is sealed.
answer  Which key for a known address, and why, with 50,000 keys in the ring and 10,000 correspondents in the store; the
        peer is the same with 1,000 keys. Beside it, a correspondent's record out of the store.
flood   Importing and showing a key that 100,000 strangers have signed, or that has as many signatures, or 5,000, which
        say that they are its own; the peer is the same key without them.
sync, stream, search, busy, mail: of the way in; bench_imap.py says what they measure.
smime, smime-send, smime-peak, ldap, dead: bench_smime.py says what they measure.

Memory is the sum of two numbers. The first is Pss (what a process has for itself, and its share of what it has in
common with others) of privyseal, its children and their gpg, without its part for shared memory. The second is Shmem of
the whole machine less what it was before: memory files count there once, mapped or not, and no mail server or mail
program of this measurement uses any. Both are read together every few milliseconds.
"""
import argparse
import base64
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "e2e"))
import harness  # noqa: E402
from bench_imap import ImapBench  # noqa: E402
from bench_smime import SmimeBench  # noqa: E402
from harness import ALICE, BOB  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "interop"))
import wot_made  # noqa: E402

BUILD = os.environ.get("BUILD", "build")
MEGABYTE = 1e6
# Seconds and megabytes (of the largest process) that a command takes with all that it starts.
MEASURED = """import resource, subprocess, sys, time
began = time.monotonic()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6)"""
NAMES = ("seal", "relay", "idle", "peak", "sync", "far", "stream", "search", "busy", "mail", "smime",
         "smime-send", "smime-peak", "ldap", "dead", "answer", "flood")
OPTIONAL = ("many",)  # what takes long: only if asked for by name
SESSIONS = (1, 2, 4, 8)
OPTIONS = "sessions_max = 5000\nsessions_per_address = 5000"
SEALING = 'rule "all" { encrypt = required  sign = always  trust = unverified }'
PLAIN = 'rule "all" { encrypt = never  sign = never }'


def helper(name):
    return os.path.join(BUILD, "tests", name)


def output_of(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise AssertionError("%s ended with %d" % (os.path.basename(str(command[0])), done.returncode))
    return done.stdout.decode()


def make_message(size, binary=False):
    """A message of nearly `size` bytes: words that compress about as letters do, or an attachment of random bytes."""
    head = ("From: Alice <%s>\r\nTo: Bob <%s>\r\nSubject: The queen's croquet ground\r\n"
            "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <bench@example.org>\r\nMIME-Version: 1.0\r\n" %
            (ALICE, BOB))
    if binary:
        head += ("Content-Type: application/octet-stream; name=\"dice\"\r\nContent-Transfer-Encoding: base64\r\n"
                 "Content-Disposition: attachment; filename=\"dice\"\r\n\r\n")
        lines = base64.encodebytes(os.urandom((size - len(head)) // 78 * 57)).replace(b"\n", b"\r\n")
    else:
        head += "Content-Type: text/plain; charset=utf-8\r\n\r\n"
        dice, rows = random.Random(7), []
        words = ["".join(dice.choice("etaoinshrdlucm") for _ in range(dice.randint(1, 9))) for _ in range(1500)]
        while sum(map(len, rows)) + len(head) < size:
            rows.append(" ".join(dice.choice(words) for _ in range(12)) + "\r\n")
        lines = "".join(rows).encode()
    return head.encode() + lines


class Line:
    """One result: what was measured, against what, and whether that is as good as it should be."""

    def __init__(self, name, value, unit, peer=None, ratio=None, aim=None, is_fine=None):
        self.name, self.value, self.unit = name, value, unit
        self.peer, self.ratio, self.aim, self.is_fine = peer, ratio, aim, is_fine

    @property
    def verdict(self):
        return "" if self.is_fine is None else "ok" if self.is_fine else "miss"

    def show(self):
        def number(value):
            return "" if value is None else "%.2f" % value if value < 100 else "%.0f" % value
        return "%-44s %9s %-7s %9s %7s  %-9s %s" % (self.name, number(self.value), self.unit, number(self.peer),
                                                    number(self.ratio), self.aim or "", self.verdict)

    def record(self):
        return {"name": self.name, "value": self.value, "unit": self.unit, "peer": self.peer, "ratio": self.ratio,
                "aim": self.aim, "verdict": self.verdict}


HEADING = "%-44s %9s %-7s %9s %7s  %-9s" % ("", "privyseal", "", "peer", "ratio", "aim")


class Memory:
    """Pss of a family of processes, and Shmem of the machine since this was made."""

    def __init__(self, proxy):
        self.root = proxy.process.pid
        self.shared_before = self.shared()

    @staticmethod
    def shared():
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(re.search(r"^Shmem:\s+(\d+)", file.read(), re.M).group(1)) * 1024

    @staticmethod
    def pss(pid):
        try:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
                text = file.read()
        except OSError:
            return 0
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.M))
        return (int(fields.get("Pss", 0)) - int(fields.get("Pss_Shmem", 0))) * 1024

    def private(self):
        return sum(self.pss(pid) for pid in [self.root] + harness.descendants(self.root))

    def now(self):
        return self.private() + max(0, self.shared() - self.shared_before)

    @contextlib.contextmanager
    def peak(self):
        """Gives a list whose last item is the most that was seen."""
        seen, is_over = [self.now()], threading.Event()
        parts = {}

        def sample():
            while not is_over.wait(0.003):
                private, shared = self.private(), max(0, self.shared() - self.shared_before)
                if private + shared > seen[-1]:
                    seen.append(private + shared)
                    parts.update(private=private, shared=shared)
        watcher = threading.Thread(target=sample)
        watcher.start()
        try:
            yield seen, parts
        finally:
            is_over.set()
            watcher.join()


class Bench(ImapBench, SmimeBench, harness.World):
    def __init__(self, options):
        super().__init__()
        self.options = options
        self.lines = []
        self.seconds = 0.4 if options.quick else options.seconds
        self.rounds = 1 if options.quick else 2

    def runTest(self):
        for name in self.options.only or NAMES:
            getattr(self, "measure_" + name.replace("-", "_"))()

    @staticmethod
    def memory_of(proxy):
        return Memory(proxy)

    make_message = staticmethod(make_message)

    @staticmethod
    def send_once(port, message):
        output_of(helper("bench_smtp"), "once", port, message, ALICE, BOB)

    def note(self, *arguments, **named):
        line = Line(*arguments, **named)
        self.lines.append(line)
        if not self.options.json:
            print(line.show(), flush=True)

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def server(self, name):
        return harness.RefServer(self, name, store=False, wire=False)

    def proxy(self, server, rules, options=OPTIONS):
        """As the harness makes it, but with the log as it is by default."""
        proxy = harness.Proxy(self, server, rules=rules, options=options, start=False)
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write(proxy.text.replace("log = debug", "log = info"))
        proxy.start()
        return proxy

    def send(self, port, sessions, message, server):
        return json.loads(output_of(helper("bench_smtp"), "send", port, sessions, self.seconds, message, ALICE, BOB,
                                    server.port))

    def in_turns(self, *measurements):
        """Each result is a mean over rounds in which all had their turn, so what else the machine does hits all."""
        sums = [0.0] * len(measurements)
        for _ in range(self.rounds):
            for i, measure in enumerate(measurements):
                sums[i] += measure() / self.rounds
        return sums

    def measure_seal(self):
        server = self.server("seal")
        proxy = self.proxy(server, rules=SEALING)
        home = self.alice().home
        message = self.file("letter.eml", make_message(10000))
        # privyseal encrypts to the author, too.
        keys = [self.file(address, self.alice().run("--export", "--export-options", "export-minimal", address).stdout)
                for address in (BOB, ALICE)]
        wrapper = os.path.join(os.path.dirname(os.path.abspath(harness.PRIVYSEAL)), "privyseal-gpg")
        signer = self.alice().fingerprint(ALICE)
        noops = []

        def alone(sessions):
            return float(output_of(helper("bench_gpgme"), wrapper, home, signer, *keys, message, sessions,
                                   self.seconds))

        def through(sessions):
            result = self.send(proxy.port, sessions, message, server)
            noops.append(result)
            return result["rate"]

        for sessions in SESSIONS[:2] if self.options.quick else SESSIONS:
            ours, peer = self.in_turns(lambda n=sessions: through(n), lambda n=sessions: alone(n))
            self.note("sealed, %d at once" % sessions, ours, "/s", peer=peer, ratio=ours / peer, aim=">= 0.85",
                      is_fine=ours >= 0.85 * peer)
        delays = noops[-self.rounds:]
        for share, key, aim in (("median", "p50_ms", None), ("99 %", "p99_ms", "< 2 ms")):
            ours, peer = (sum(run[name] for run in delays) / len(delays) for name in (key, "server_" + key))
            self.note("NOOP while all keepers are busy, " + share, ours, "ms", peer=peer, ratio=ours / peer, aim=aim,
                      is_fine=aim and ours < 2)
        proxy.close()

    def measure_relay(self):
        server = self.server("relay")
        proxy = self.proxy(server, rules=PLAIN)
        message = self.file("letter.eml", make_message(10000))
        for sessions in SESSIONS[:1] if self.options.quick else SESSIONS:
            ours, peer = self.in_turns(lambda n=sessions: self.send(proxy.port, n, message, server)["rate"],
                                       lambda n=sessions: self.send(server.port, n, message, server)["rate"])
            self.note("relayed plain, %d at once" % sessions, ours, "/s", peer=peer, ratio=ours / peer)
        proxy.close()

    def measure_idle(self):
        count = 50 if self.options.quick else 1000
        for security in ("clear", "tls"):
            proxy = self.proxy(self.server("idle-" + security), rules=PLAIN)
            # One session before: what is made once for all is not counted.
            with proxy.client(tls=security == "tls"):
                memory = Memory(proxy)
                before = memory.now()
                process = subprocess.Popen([helper("bench_smtp"), "idle", str(proxy.port), str(count), security],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                with process:
                    if process.stdout.readline() != b"ready\n":
                        raise AssertionError("idle sessions were refused:\n" + proxy.log())
                    after = memory.now()
            self.note("memory for an idle session, %s (of %d)" % (security, count), (after - before) / count / 1024,
                      "KiB")
            proxy.close()

    def measure_peak(self):
        size = 2000000 if self.options.quick else 50000000
        proxy = self.proxy(self.server("peak"), rules=SEALING, options=OPTIONS + "\nmessage_max = 104857600")
        small = self.file("letter.eml", make_message(10000))
        big = self.file("dice.eml", make_message(size, binary=True))
        size = os.path.getsize(big)
        memory = Memory(proxy)
        self.send_once(proxy.port, small)
        idle = memory.now()
        with memory.peak() as (seen, parts):
            began = time.monotonic()
            self.send_once(proxy.port, big)
            seconds = time.monotonic() - began
        name = "message of %.0f MB" % (size / MEGABYTE)
        self.note("all processes at rest", idle / MEGABYTE, "MB")
        self.note("peak for a " + name, seen[-1] / MEGABYTE, "MB", peer=size / MEGABYTE, ratio=seen[-1] / size,
                  aim="<= 2", is_fine=seen[-1] <= 2 * size)
        self.note("  of it in memory files", parts.get("shared", 0) / MEGABYTE, "MB", peer=size / MEGABYTE,
                  ratio=parts.get("shared", 0) / size)
        self.note("time to seal a " + name, seconds, "s")
        proxy.close()

    def measure_flood(self):
        home = harness.Gpg(os.path.join(self.folder, "flo"))
        self.add(home.close)
        home.make("flo@example.org")
        key = home.run("--export", "flo@example.org").stdout
        at = key.index(b"<flo@example.org>") + len("<flo@example.org>")
        made, count = int(time.time()) - 9 * 86400, 10000 if self.options.quick else 100000
        issuer = bytes.fromhex(home.fingerprint("flo@example.org")[-16:])
        # By strangers, and by what calls itself the key: many, and so few that the file is short.
        floods = {"none": b"", "flooded": wot_made.flood(count, made), "own": wot_made.flood(count, made, issuer),
                  "own, short": wot_made.flood(5000, made, issuer)}
        proxy = harness.Proxy(self, self.server("flood"), start=False)
        took = {}
        for name, flood in floods.items():
            path = self.file("key" + name, key[:at] + flood + key[at:])
            for words in (("import", path), ("show", "flo@example.org")):
                took[name, words[0]] = output_of(sys.executable, "-c", MEASURED, harness.PRIVYSEAL, "key", *words,
                                                 "--config", proxy.config)
        for name, word in ((name, word) for name in list(floods)[1:] for word in ("import", "show")):
            (ours, size), (peer, least) = (map(float, took[each, word].split()) for each in (name, "none"))
            self.note("key %s, %s" % (word, name), ours, "s", peer=peer, ratio=ours / peer, aim="1 s more",
                      is_fine=ours <= peer + 1)
            self.note("key %s, %s, largest process" % (word, name), size, "MB", peer=least, ratio=size / least,
                      aim="10 MB more", is_fine=size <= least + 10)

    def measure_answer(self):
        peers = 500 if self.options.quick else 10000

        def ask(keys):
            folder = os.path.join(self.folder, "answer%d" % self.count())
            return json.loads(output_of(helper("bench_answer"), folder, keys, peers, self.seconds / 4))

        many, few = ask(1000 if self.options.quick else 50000), ask(1000)
        for name, key, aim in (("answer", "answer_ms", "< 1 ms"), ("record", "record_ms", None)):
            ours, peer = many[key], few[key]
            self.note("%s for a known address" % name, ours, "ms", peer=peer, ratio=ours / peer, aim=aim,
                      is_fine=aim and ours < 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object for programs, in place of the table")
    parser.add_argument("--quick", action="store_true",
                        help="only to see that everything runs: the numbers mean nothing")
    parser.add_argument("--seconds", type=float, default=4, help="how long each measurement of a rate takes")
    parser.add_argument("--only", action="append", choices=NAMES + OPTIONAL)
    bench = Bench(parser.parse_args())
    began = time.monotonic()
    if not bench.options.json:
        print("%d processors, load %.1f\n%s" % (os.cpu_count(), os.getloadavg()[0], HEADING), flush=True)
    try:
        bench.setUp()
        bench.runTest()
    finally:
        bench.doCleanups()
        harness.close_keys()
    if bench.options.json:
        print(json.dumps({"processors": os.cpu_count(), "load": os.getloadavg()[0], "seconds": time.monotonic() - began,
                          "results": [line.record() for line in bench.lines]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
