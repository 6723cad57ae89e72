"""Ten thousand hostile byte streams against each listener: no process dies, memory stays, and mail goes on.

The streams are made from a fixed seed by mutating real sessions where it hurts: commands cut, doubled, lengthened, with
the wrong bytes in them, out of order, in odd segments; replies are read or ignored, the end is in order or not.
"""
import concurrent.futures
import os
import random
import socket
import unittest
import unittest.mock

import corpus
import harness
from harness import ALICE, BOB, DAVE, World, wait_for

STREAMS = 10000
UNDER_TLS = 700
WARM_UP = 1500
GROWTH_KB = 4096
PATIENCE_S = 0.5
THREADS = 8
# Whatever the session waits for, the end of a message, a response or a command, this ends it.
FAREWELL = b"\r\n.\r\nQUIT\r\n" * 4
COMMANDS = [b"EHLO x", b"HELO x", b"STARTTLS", b"NOOP", b"RSET", b"QUIT", b"HELP", b"VRFY x", b"EXPN x", b"DATA",
            b"AUTH LOGIN", b"AUTH PLAIN", b"AUTH PLAIN AGFsaWNlAHNlY3JldA==", b"AUTH CRAM-MD5",
            b"AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIGIBAQ==", b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==",
            b"MAIL FROM:<%s>" % ALICE.encode(), b"MAIL FROM:<> SIZE=1 BODY=8BITMIME",
            b"MAIL FROM:<%s> RET=FULL ENVID=+41 SMTPUTF8" % ALICE.encode(), b"RCPT TO:<%s>" % BOB.encode(),
            b"RCPT TO:<\"a b\"@[127.0.0.1]> NOTIFY=NEVER ORCPT=rfc822;x+40y", b"RCPT TO:<@a,@b:%s>" % DAVE.encode(),
            b"BDAT 10", b"BDAT 10 LAST", b"BDAT 99999999999999999999", b"*", b"AGFsaWNlAHNlY3JldA==", b""]
ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"", b"\0\r\n", b"\n\r"]
NASTY = [b"\0", b"\xff", b"\r", b"\n", b"<", b">", b":", b"=", b"\"", b"\\", b"@", b"%s%n", b"\xc3\xa9",
         b"\xf0\x9f\x90\xa6", b"A" * 300, b"<" * 600, b"(" * 1200, b"A" * 13000, b" " * 90, b"9" * 40,
         b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x80\x00"]
SUBMISSION = [b"EHLO x", b"AUTH PLAIN AGFsaWNlAHNlY3JldA==", b"MAIL FROM:<%s>" % ALICE.encode(),
              b"RCPT TO:<%s>" % BOB.encode(), b"RCPT TO:<%s>" % DAVE.encode(), b"DATA"]
# Without an address in From it is refused, and costs no signature.
MESSAGE = b"From: nobody\r\nTo: x\r\nSubject: y\r\n\r\nbody\r\n.body\r\n.\r\n"
BODIES = [b"Subject: x\r\n\r\nbody\r\n.\r\n", b".\r\n", b"\r\n.\r\n", b"\n.\n",
          b"From: %s\r\n\r\n\r\n.\r\n" % ALICE.encode(),
          b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 200 + b"\r\n.\r\n",
          b"x" * 3000 + b"\r\n.\r\n"]


def mutated(chance, line):
    """The line with what a broken or a bad client would make of it."""
    kind = chance.random()
    at = chance.randrange(len(line) + 1)
    if kind < 0.5:
        return line
    if kind < 0.65:
        return line[:at] + chance.choice(NASTY) + line[at:]
    if kind < 0.75:
        return line[:at]
    if kind < 0.85 and line:
        return line[:at] + bytes([chance.randrange(256)]) + line[at + 1:]
    if kind < 0.92:
        return line[:at] + line[at:] * 2
    return line.swapcase()


def stream(number):
    """The segments of one session; the same for the same number."""
    chance = random.Random(number)
    if chance.random() < 0.4:
        data = b"".join((mutated(chance, line) if chance.random() < 0.3 else line) + b"\r\n" for line in SUBMISSION)
        data += mutated(chance, MESSAGE) if chance.random() < 0.3 else MESSAGE
        at = chance.randrange(len(data) + 1)
        return [data[:at], data[at:]]
    parts = []
    if chance.random() < 0.7:
        parts.append(b"EHLO x\r\n")
    if chance.random() < 0.15:
        parts.append(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
    for _ in range(chance.randrange(1, 9)):
        parts.append(mutated(chance, chance.choice(COMMANDS)) + chance.choice(ENDS))
        if chance.random() < 0.15:
            parts.append(mutated(chance, chance.choice(BODIES)))
    if chance.random() < 0.05:
        parts.append(chance.randbytes(chance.randrange(1, 5000)))
    data = b"".join(parts)
    if chance.random() < 0.5:
        return [data]
    at = chance.randrange(len(data) + 1)
    return [data[:at], data[at:]]


class Hostile(World):
    def attack(self, port, number, context=None, starts_in_clear=True):
        """One stream. Every second connection is ended in order and hears all it is told; some others are reset."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        try:
            if number % 16 == 1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if context is not None and starts_in_clear:
                connection.recv(1000)
                connection.sendall(b"EHLO x\r\n")
                connection.recv(10000)
                connection.sendall(b"STARTTLS\r\n")
                connection.recv(1000)
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            for segment in stream(number):
                connection.sendall(segment)
            if number % 2 == 0:
                connection.sendall(FAREWELL)
                connection.settimeout(PATIENCE_S)
                while connection.recv(65536):
                    pass
        except OSError:
            # The proxy may hang up at any time, or wait for the rest of a chunk.
            pass
        finally:
            connection.close()

    def resident_kb(self):
        with open("/proc/%d/status" % self.net, encoding="ascii") as file:
            return int(next(row for row in file if row.startswith("VmRSS")).split()[1])

    def sessions(self):
        """Connections that the net process still has."""
        with open("/proc/net/tcp", encoding="ascii") as file:
            ports = tuple(":%04X" % port for port in self.proxy.ports)
            return [row for row in file if row.split()[1].endswith(ports) and row.split()[3] in ("01", "08")]

    def check_mail(self):
        before = len(self.server.mail())
        self.proxy.send(corpus.text(), [BOB])
        self.assertGreater(len(self.server.mail()), before)

    def test_streams(self):
        # Under a sanitizer what was freed is held back for a while; how much must not hide what is never freed.
        options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"
        with unittest.mock.patch.dict(os.environ, ASAN_OPTIONS=options):
            self.check_streams()

    def check_streams(self):
        self.server = harness.RefServer(self)
        self.proxy = harness.Proxy(self, self.server, rules=harness.TRUSTING,
                                   listen='listen "smtp:a" { at = "127.0.0.1:0" }\n'
                                          'listen "smtp:b" { at = "127.0.0.1:0"  tls = implicit }')
        self.check_mail()
        self.net = self.proxy.workers()[1]
        context = self.proxy.tls_context()

        def attack(number):
            is_under_tls = number % (STREAMS // UNDER_TLS) == 0
            self.attack(self.proxy.ports[0], number, context if is_under_tls else None)
            # To the listener that wants TLS every second stream is noise; the others come inside it.
            self.attack(self.proxy.ports[1], number, context if number % 4 < 2 else None, starts_in_clear=False)

        def attack_all(numbers):
            with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
                for done in pool.map(attack, numbers):
                    self.assertIsNone(done)
            wait_for(lambda: not self.sessions(), "the sessions to end", 60)
        attack_all(range(WARM_UP))
        begun = self.resident_kb()
        attack_all(range(WARM_UP, STREAMS))
        self.assertLess(self.resident_kb() - begun, GROWTH_KB)
        self.check_mail()
        self.assertEqual(self.proxy.workers()[1], self.net)
        self.assertNotIn("ended with status", self.proxy.log())
        self.assertNotIn("died", self.proxy.log())


if __name__ == "__main__":
    unittest.main()
