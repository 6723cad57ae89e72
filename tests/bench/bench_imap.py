"""The part of bench.py that reads mail: a Dovecot behind privyseal, against the same Dovecot spoken to directly.

sync    All of a mailbox of 5,000 messages, one in ten sealed: numbers, flags, sizes, headers, then every body; then
        numbers, flags, sizes and headers again by a new session. The peer is the same without privyseal. Beside it:
        the time that plain gpg takes for the sealed messages on all processors.
far     A first look at a plain mailbox of 5,000 messages (flags, sizes, headers) with the server far away: each way
        takes 50 ms. The peer is the server, as far away.
many    (only if asked for) 50,000 messages, one in a hundred sealed: after a first look another one, by a new session
        after a restart. How many bytes and bodies come from the server, and how much memory all of it takes.
stream  Bodies of a plain mailbox: 2,000 of 10 KB, 10 of 10 MB. The peers are the server directly, nginx's mail proxy
        and Dovecot's own proxy.
search  SEARCH BODY over sealed messages; the peer is Dovecot over the same messages in plain, without an index of
        words.
busy    The delay of a NOOP in one session while others make all keepers work; the peer is a NOOP to the server in the
        same moments.
mail    Memory for each of 1,000 idle sessions that have logged in, in clear and with TLS on both legs.
"""
import concurrent.futures
import http.server
import os
import queue
import random
import re
import socket
import ssl
import subprocess
import threading
import time

import harness
import imap_harness
import shapes
import twin
from dovecot import Dovecot, Talk
from harness import ALICE, BOB

NGINX = """
daemon off;
error_log {folder}/nginx.log;
pid {folder}/nginx.pid;
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
events {{ worker_connections 512; }}
mail {{
  auth_http 127.0.0.1:{auth};
  server {{ listen 127.0.0.1:{port}; protocol imap; proxy on; }}
}}
"""


class Reader:
    """Commands whose answers are counted, not looked at."""

    def __init__(self, port, context=None, user="alice"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.number = bytearray(1 << 20), 0
        self.socket.recv(65536)
        if context:
            self.socket.sendall(b"s STARTTLS\r\n")
            self.socket.recv(65536)
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.run(b"LOGIN %s secret" % user.encode())

    def run(self, command):
        """Sends it, and gives the number of bytes up to the tagged answer, which must be OK."""
        self.number += 1
        tag = b"b%d" % self.number
        self.socket.sendall(tag + b" " + command + b"\r\n")
        count, tail = 0, b"\r\n"
        while True:
            got = self.socket.recv_into(self.buffer)
            if got == 0:
                raise AssertionError("the connection ended in %r" % command)
            count += got
            tail = (tail + bytes(self.buffer[max(0, got - 4000):got]))[-4000:]
            if tail.endswith(b"\r\n"):
                at = tail.rfind(b"\r\n" + tag + b" ")
                if at >= 0:
                    if tail[at + 2 + len(tag):][:3] != b" OK":
                        raise AssertionError("%r: %r" % (command, tail[at:]))
                    return count

    def close(self):
        self.socket.close()


class Far:
    """A line to a server on which every byte is on its way for a while, in both directions. It keeps what is asked and
    counts what is answered."""

    def __init__(self, server, delay):
        self.server, self.delay = server, delay
        self.asked, self.answered = b"", 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self):
        return "imap+clear://127.0.0.1:%d" % self.port

    def _accept(self):
        while True:
            try:
                here = self.socket.accept()[0]
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.server.port))
            for source, target in ((here, there), (there, here)):
                target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line = queue.SimpleQueue()
                threading.Thread(target=self._take, args=(source, line, source is here), daemon=True).start()
                threading.Thread(target=self._give, args=(line, target), daemon=True).start()

    def _take(self, source, line, is_asking):
        data = b"more"
        while data:
            try:
                data = source.recv(1 << 18)
            except OSError:
                data = b""
            if is_asking:
                self.asked += data
            else:
                self.answered += len(data)
            line.put((time.monotonic() + self.delay, data))

    @staticmethod
    def _give(line, target):
        data = b"more"
        while data:
            due, data = line.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if data:
                    target.sendall(data)
                else:
                    target.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self):
        self.socket.close()


class Auth(http.server.BaseHTTPRequestHandler):
    """Tells nginx where the server is."""
    protocol_version = "HTTP/1.0"
    backend = 0

    def do_GET(self):
        self.send_response(200)
        for name, value in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(self.backend))):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def letter(dice, size):
    maker_words = ["".join(dice.choice("etaoinshrdlucm") for _ in range(dice.randint(2, 9))) for _ in range(400)]
    head = ("From: Bob <%s>\r\nTo: Alice <%s>\r\nSubject: %s\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
            "Message-ID: <%d@example.net>\r\n\r\n" % (BOB, ALICE, " ".join(dice.choices(maker_words, k=5)),
                                                      dice.randrange(10 ** 12)))
    rows = []
    length = len(head)
    while length < size:
        rows.append(" ".join(dice.choices(maker_words, k=11)))
        length += len(rows[-1]) + 2
    return (head + "\r\n".join(rows) + "\r\n").encode()


class ImapBench:
    """Mixed into bench.Bench."""

    def seal_many(self, messages):
        harness.keys()  # made once, before many want them
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(twin.encrypted, messages))

    def imap_proxy(self, server, options=""):
        proxy = harness.Proxy(self, None, imap=server, start=False,
                              options="sessions_max = 5000\nsessions_per_address = 5000\n" + options)
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write(proxy.text.replace("log = debug", "log = info"))
        proxy.start()
        return proxy

    @staticmethod
    def whole_sync(port):
        """Seconds for all of it."""
        began = time.monotonic()
        reader = Reader(port)
        reader.run(b"SELECT INBOX")
        reader.run(b"UID FETCH 1:* (UID FLAGS)")
        reader.run(b"UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER])")
        reader.run(b"UID FETCH 1:* (UID BODY.PEEK[])")
        reader.close()
        return time.monotonic() - began

    @staticmethod
    def second_sync(port):
        """What a mail program does that has the bodies: it looks for what is new, at all sizes, flags and headers."""
        began = time.monotonic()
        reader = Reader(port)
        reader.run(b"SELECT INBOX")
        reader.run(b"UID FETCH 1:* (UID FLAGS)")
        reader.run(b"UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER])")
        reader.close()
        return time.monotonic() - began

    def gpg_time(self, messages):
        """What plain gpg under GPGME takes for these messages, on all processors."""
        home = self.alice().home
        files = [self.file("sealed%d" % i, message.split(b"octet-stream\r\n\r\n", 1)[1].split(b"\r\n--enc--")[0])
                 for i, message in enumerate(messages)]

        def decrypt(name):
            done = subprocess.run(["gpg", "--homedir", home, "--batch", "--quiet", "--trust-model", "always",
                                   "--decrypt", name], capture_output=True, check=False)
            if done.returncode != 0:
                raise AssertionError(done.stderr.decode())
        decrypt(files[0])  # starts the agent
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decrypt, files))
        return time.monotonic() - began

    def measure_sync(self):
        total = 60 if self.options.quick else 5000
        dice = random.Random(11)
        plain = [letter(dice, 4000) for _ in range(total)]
        chosen = list(range(0, total, 10))
        sealed = self.seal_many([plain[i] for i in chosen])
        for i, message in zip(chosen, sealed):
            plain[i] = message
        server = Dovecot(users=("alice",))
        self.add(server.close)
        server.deliver("alice", "INBOX", plain)
        Reader(server.port).run(b"SELECT INBOX")
        bare = self.gpg_time(sealed)
        proxy = self.imap_proxy(server)
        direct_first = self.whole_sync(server.port)
        first = self.whole_sync(proxy.imap_port)
        direct = sum(self.whole_sync(server.port) for _ in range(2)) / 2
        aim = bare + 2 * max(direct, direct_first)
        self.note("first sync of %d messages" % total, first, "s", peer=direct_first, ratio=first / direct_first,
                  aim="<= %.1f s" % aim, is_fine=first <= aim)
        self.note("  gpg alone for its sealed messages", bare, "s")
        ours, peer = self.in_turns(lambda: self.second_sync(proxy.imap_port), lambda: self.second_sync(server.port))
        self.note("second sync", ours, "s", peer=peer, ratio=ours / peer, aim="<= 1.2", is_fine=ours <= 1.2 * peer)
        proxy.close()
        server.close()

    def measure_far(self):
        total = 60 if self.options.quick else 5000
        dice = random.Random(17)
        server = Dovecot(users=("alice",))
        self.add(server.close)
        server.deliver("alice", "INBOX", [letter(dice, 2000) for _ in range(total)])
        Reader(server.port).run(b"SELECT INBOX")
        far = Far(server, 0.05)
        self.add(far.close)
        proxy = self.imap_proxy(far)

        def look(port):
            reader = Reader(port)
            reader.run(b"SELECT INBOX")
            began = time.monotonic()
            reader.run(b"FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER])")
            took = time.monotonic() - began
            reader.close()
            return took
        look(far.port)
        peer = look(far.port)
        ours = look(proxy.imap_port)
        self.note("first look at %d plain messages, 50 ms away" % total, ours, "s", peer=peer, ratio=ours / peer)
        proxy.close()
        server.close()

    def measure_many(self):
        total = 200 if self.options.quick else 50000
        dice = random.Random(19)
        messages = [letter(dice, 1000) for _ in range(total)]
        chosen = list(range(0, total, 100))
        for i, message in zip(chosen, self.seal_many([messages[i] for i in chosen])):
            messages[i] = message
        server = Dovecot(users=("alice",))
        self.add(server.close)
        server.deliver("alice", "INBOX", messages)
        Reader(server.port).run(b"SELECT INBOX")
        line, direct = Far(server, 0), Far(server, 0)
        proxy = self.imap_proxy(line)
        items = b"UID FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)"

        def look(port, far, name, memory=None):
            far.asked, far.answered = b"", 0
            began = time.monotonic()
            reader = Reader(port)
            reader.run(b"SELECT INBOX")
            if memory:
                with memory.peak() as (seen, _):
                    reader.run(items)
                self.note("%s of %d messages, memory at most" % (name, total), seen[-1] / 1e6, "MB")
                self.note("  and when it is done", memory.now() / 1e6, "MB")
            else:
                reader.run(items)
            reader.close()
            return time.monotonic() - began, far.answered, len(re.findall(rb"BODY(?:\.PEEK)?\[", far.asked))
        rows = [look(proxy.imap_port, line, "first look", self.memory_of(proxy))]
        proxy.stop()
        proxy.start()
        memory = self.memory_of(proxy)
        self.note("after a restart", memory.now() / 1e6, "MB")
        rows.append(look(proxy.imap_port, line, "second look", memory))
        peer = look(direct.port, direct, "direct")
        for name, (took, answered, bodies) in zip(("first look", "second look"), rows):
            self.note(name, took, "s", peer=peer[0], ratio=took / peer[0])
            self.note("  bytes from the server", answered / 1e6, "MB", peer=peer[1] / 1e6, ratio=answered / peer[1])
            aim = {"aim": "0", "is_fine": bodies == 0} if name == "second look" else {}
            self.note("  sections of messages asked for", bodies, "", **aim)
        proxy.close()
        server.close()

    # ---- pass-through ----

    def nginx(self, server):
        auth = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("AuthHere", (Auth,), {"backend": server.port}))
        threading.Thread(target=auth.serve_forever, daemon=True).start()
        self.add(auth.shutdown)
        port = free_port()
        config = self.file("nginx.conf", NGINX.format(folder=self.folder, auth=auth.server_address[1],
                                                      port=port).encode())
        process = subprocess.Popen(["/usr/sbin/nginx", "-p", self.folder, "-c", config], stderr=subprocess.DEVNULL)

        def stop():
            process.terminate()
            process.wait()
        self.add(stop)
        harness.wait_for(lambda: self.is_open(port), "nginx")
        return port

    @staticmethod
    def is_open(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        except OSError:
            return False

    def dovecot_proxy(self, server):
        """A second Dovecot whose users live in the first."""
        front = Dovecot(users=("alice",))
        self.add(front.close)
        with open(os.path.join(front.folder, "users"), "w", encoding="utf-8") as file:
            file.write("alice:secret::::::proxy=y host=127.0.0.1 port=%d nopassword=y pass=secret\n" % server.port)
        time.sleep(1.1)
        return front.port

    def measure_stream(self):
        shapes_of = ((40, 10000), (2, 1000000)) if self.options.quick else ((2000, 10000), (10, 10000000))
        server = Dovecot(users=("alice",))
        self.add(server.close)
        dice = random.Random(12)
        for count, size in shapes_of:
            rows = (b"y" * 76 + b"\r\n") * (max(0, size - 10000) // 78)
            server.deliver("alice", "Box%d" % size, [letter(dice, min(size, 10000)) + rows for _ in range(count)])
        proxy = self.imap_proxy(server)
        ports = {"directly": server.port, "privyseal": proxy.imap_port, "nginx": self.nginx(server),
                 "Dovecot's proxy": self.dovecot_proxy(server)}
        for count, size in shapes_of:
            readers = {name: Reader(port) for name, port in ports.items()}
            for reader in readers.values():
                reader.run(b"SELECT Box%d" % size)
                reader.run(b"FETCH 1:* (BODY.PEEK[])")
            rates = dict.fromkeys(ports, 0.0)
            for _ in range(1 if self.options.quick else 4):
                for name, reader in readers.items():
                    began = time.monotonic()
                    got = reader.run(b"FETCH 1:* (BODY.PEEK[])")
                    rates[name] = max(rates[name], got / (time.monotonic() - began) / 1e6)
            for reader in readers.values():
                reader.close()
            what = "%d x %d KB" % (count, size // 1000)
            for peer in ("directly", "nginx", "Dovecot's proxy"):
                ratio = rates["privyseal"] / rates[peer]
                has_aim = peer != "directly"
                self.note("stream %s, peer %s" % (what, peer), rates["privyseal"], "MB/s", peer=rates[peer],
                          ratio=ratio, aim=">= 1" if has_aim else None, is_fine=ratio >= 1 if has_aim else None)
        proxy.close()

    # ---- search ----

    def measure_search(self):
        total = 40 if self.options.quick else 5000
        dice = random.Random(13)
        plain = [letter(dice, 4000) for _ in range(total)]
        server = Dovecot(users=("alice", "twin"))
        self.add(server.close)
        server.deliver("alice", "INBOX", self.seal_many(plain))
        proxy = self.imap_proxy(server)
        ours = Reader(proxy.imap_port)
        ours.run(b"SELECT INBOX")
        began = time.monotonic()
        ours.run(b'SEARCH BODY "absent"')
        self.note("first SEARCH opens %d messages" % total, time.monotonic() - began, "s")
        server.deliver("twin", "INBOX", plain)
        theirs = Reader(server.port, user="twin")
        theirs.run(b"SELECT INBOX")

        def timed(reader, text):
            began = time.monotonic()
            reader.run(text)
            return time.monotonic() - began
        for text in (b'SEARCH BODY "absent"', b'UID SEARCH OR SUBJECT "zz" BODY "ea"'):
            timed(theirs, text)
            mine, other = self.in_turns(lambda command=text: timed(ours, command),
                                        lambda command=text: timed(theirs, command))
            self.note("%s of %d sealed" % (text.decode(), total), mine, "s", peer=other, ratio=mine / other,
                      aim="<= 1", is_fine=mine <= other)
        proxy.close()

    # ---- delay and memory ----

    def measure_busy(self):
        total = 20 if self.options.quick else 600
        server = Dovecot(users=("alice",))
        self.add(server.close)
        dice = random.Random(14)
        server.deliver("alice", "INBOX", self.seal_many([letter(dice, 4000) for _ in range(total)]))
        proxy = self.imap_proxy(server)
        over = threading.Event()

        def open_all():
            reader = Reader(proxy.imap_port)
            reader.run(b"SELECT INBOX")
            reader.run(b"FETCH 1:* (RFC822.SIZE)")
            over.set()
        readers = {"ours": Talk(proxy.imap_port, "alice", "secret"), "server's": Talk(server.port, "alice", "secret")}
        worker = threading.Thread(target=open_all)
        worker.start()
        delays = {name: [] for name in readers}
        while not over.is_set():
            for name, talk in readers.items():
                began = time.monotonic()
                talk.command(b"NOOP")
                delays[name].append((time.monotonic() - began) * 1000)
            time.sleep(0.002)
        worker.join()
        for share, at, aim in (("median", 0.5, None), ("99 %", 0.99, "+ < 2 ms")):
            ours, peer = (sorted(delays[name])[int(len(delays[name]) * at)] for name in readers)
            self.note("IMAP NOOP while keepers open, " + share, ours, "ms", peer=peer, ratio=ours / peer, aim=aim,
                      is_fine=aim and ours - peer < 2)
        proxy.close()

    def measure_mail(self):
        count = 50 if self.options.quick else 1000
        for security in ("none", "starttls"):
            server = imap_harness.RefImap(self, name="idle-" + security, tls=security)
            proxy = self.imap_proxy(server)
            context = None if security == "none" else ssl.create_default_context(cafile=proxy.certificate())
            first = Reader(proxy.imap_port, context)
            memory = self.memory_of(proxy)
            before = memory.now()
            readers = [Reader(proxy.imap_port, context) for _ in range(count)]
            after = memory.now()
            aim = 30 if security == "none" else 80
            each = (after - before) / count / 1024
            self.note("memory for an idle IMAP session, %s (of %d)" % (
                "clear" if security == "none" else "TLS on both legs", count), each, "KiB", aim="< %d" % aim,
                is_fine=each < aim)
            for reader in readers + [first]:
                reader.close()
            proxy.close()
            server.close()
