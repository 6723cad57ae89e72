"""Servers and clients that lie, flood, stall and break off: the session ends with BYE and a line in the log, no process
dies, and the others go on."""
import os
import random
import time
import unittest
import unittest.mock

import corpus
import harness
from harness import BOB, wait_for
from imap_harness import Case, Raw, fetched, whole
from test_imap_first import from_bob
from twin import encrypted

STREAMS = 3000
GROWTH_KB = 8192
FETCHES = ("FETCH 1:3 (UID FLAGS)", "FETCH 1:3 (RFC822.SIZE ENVELOPE)", "FETCH 1:3 (BODY.PEEK[])",
           "UID FETCH 1:* (FLAGS BODY[1])")


class Measured(Case):
    def begin(self, **options):
        # Under a sanitizer what was freed is held back for a while; how much must not hide what is never freed.
        sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"
        with unittest.mock.patch.dict(os.environ, ASAN_OPTIONS=sanitizer):
            super().begin(**options)

    def resident_kb(self):
        with open("/proc/%d/status" % self.proxy.workers()[1], encoding="ascii") as file:
            return int(next(row for row in file if row.startswith("VmRSS")).split()[1])


class Servers(Measured):
    def begin(self, **options):
        super().begin(timeout_percent=2, **options)
        self.alice().take(harness.keys().export(BOB))
        self.server.put(from_bob("one"), encrypted(from_bob("two")), from_bob("three", "x" * 300))
        # Another session, which must not notice anything.
        self.other = self.raw()
        self.other.ok("EXAMINE INBOX")
        self.other.ok("FETCH 1:3 (BODY.PEEK[])")
        self.family = self.proxy.workers()

    def under(self, *faults, command, select=True, wants_bye=True):
        """What a session is told of a command that meets the faults."""
        raw = self.raw()
        if select:
            raw.ok("SELECT INBOX")
        self.server.faults(*faults)
        log = len(self.proxy.log())
        try:
            responses, said = raw.command(command)
        except ConnectionError:
            responses, said = [], b""
        self.server.faults()
        raw.close()
        self.other.ok("NOOP")
        if wants_bye:
            self.assertEqual(said, b"", "%r then %r" % (responses[-3:], said))
            self.assertTrue(any(response.startswith(b"* BYE") for response in responses), responses[-3:])
            wait_for(lambda: "ends:" in self.proxy.log()[log:], "a line in the log")
        return responses, said

    def check_others(self):
        self.assertEqual(self.proxy.workers(), self.family)
        self.assertEqual(len(self.other.ok("FETCH 1:3 (UID)")), 3)
        with self.imap() as client:
            client.select(readonly=True)
            self.assertIn(corpus.CANARY, whole(client, 2))
        for word in ("ended with status", "died"):
            self.assertNotIn(word, self.proxy.log())

    def test_cut_and_closed(self):
        self.begin()
        for fault in ("fetch:*=cut", "fetch.each:1=cut", "fetch.end:*=cut", "fetch:*=bye for maintenance",
                      "fetch.each:2=bye", "fetch:*=late"):
            for command in FETCHES:
                with self.subTest(fault=fault, command=command):
                    responses, _ = self.under(fault, command=command)
                    self.assertFalse(any(response.endswith(b"BYE for maintenance") for response in responses[:-1]))
        self.check_others()

    def test_cut_within_a_literal(self):
        """What was announced to the client cannot be kept: the connection ends within it, and nothing is made up."""
        self.begin()
        # Later there are fewer: what is known is not asked for again.
        for number in (1, 2):
            with self.subTest(number=number):
                responses, said = self.under("literal:%d=cut" % number, command=FETCHES[2], wants_bye=False)
                self.assertEqual(said, b"")
                self.assertLess(sum(b"BODY[]" in response and response.endswith(b")") for response in responses), 3)
        self.check_others()

    def test_to_the_last_byte_before_the_cut(self):
        """The client gets all of the literal that came, and then the end: no BYE and no other line may fall into it."""
        self.begin()
        for size, commands in ((300, ""), (400000, ""), (3000000, "d NOOP\r\ne FETCH 1 (BODY.PEEK[])\r\n")):
            with self.subTest(size=size, commands=commands):
                message = from_bob("long", "x" * size)
                self.server.put(message)
                number = len(self.server.mail())
                raw = Raw(self.proxy.imap_port, small=True).login()
                self.addCleanup(raw.close)
                raw.ok("SELECT INBOX")
                raw.ok("FETCH 1:* (RFC822.SIZE)")
                log = len(self.proxy.log())
                self.server.faults("literal:1=cut", "noop:*=* 99 RECENT")
                raw.send("c FETCH %d (BODY.PEEK[])\r\n%s" % (number, commands))
                self.assertEqual(raw.line(), b"* %d FETCH (BODY[] {%d}" % (number, len(message)))
                if size < 1000000:
                    # What it has not taken yet when the line is cut must not be lost, either.
                    wait_for(lambda: "ends:" in self.proxy.log()[log:], "the end")
                self.assertEqual(raw.take(len(message) + 1000), message[:len(message) // 2])
                wait_for(lambda: "within a response" in self.proxy.log()[log:], "a line in the log")
                self.server.faults()
        self.assertEqual(self.proxy.workers(), self.family)

    def test_sizes_that_are_lies(self):
        self.begin()
        for size in ("5", "0", "100000", "4294967295", "99999999999999999999999", "-1", "", "x", "7 }", "1}\r\n{2"):
            with self.subTest(size=size):
                _, said = self.under("literal:1=lie " + size.replace("\r\n", ""), command="FETCH 1:3 (BODY.PEEK[])",
                                     wants_bye=False)
                self.assertFalse(said.startswith(b"OK"), said)
        self.check_others()

    def test_malformed_responses(self):
        self.begin()
        for text in ("\\r\\n", "*\\r\\n", "* \\r\\n", "* 1\\r\\n", "* 1 FETCH\\r\\n", "* 0 FETCH (FLAGS ())\\r\\n",
                     "* 1 FETCH (FLAGS (\\r\\n", "* 1 FETCH (UID x)\\r\\n", "* 4 FETCH (UID 9)\\r\\n",
                     "* 99999999999 EXISTS\\r\\n", "* 0 EXPUNGE\\r\\n", "* 9 EXPUNGE\\r\\n", "* 1 EXISTS\\r\\n",
                     "* 2 FETCH (UID 1)\\r\\n", "* 1 FETCH (UID 77)\\r\\n", "* OK\\n", "* OK \\0\\r\\n",
                     "\\x80\\xff\\r\\n", "nobody OK done\\r\\n", "P99999 OK done\\r\\n", "+ go on\\r\\n",
                     "* VANISHED x\\r\\n", "* PREAUTH [CAPABILITY IMAP4rev1] hello\\r\\n",
                     "* 1 FETCH (" + "(" * 400 + "\\r\\n"):
            for command in FETCHES[:2]:
                with self.subTest(text=text, command=command):
                    self.under("fetch:*=raw " + text, command=command)
        self.check_others()

    def test_contradictions(self):
        """Numbers that cannot be: nothing is shown under a wrong UID, and the client does not hear of them."""
        self.begin()
        for text in ("* 9 EXPUNGE", "* 0 EXPUNGE", "* 1 EXISTS", "* 99999999999 EXISTS", "* 4 FETCH (FLAGS ())",
                     "* 4 FETCH (UID 9 FLAGS (x))", "* VANISHED 1:x", "* 2 FETCH (UID 1)"):
            commands = ("FETCH 1:3 (RFC822.SIZE)", "FETCH 1 (BODY.PEEK[])", "NOOP", "FETCH 1:3 (FLAGS)")
            # Which UIDs there are is asked when the first of these needs it.
            for command in commands[:2] if text == "* 2 FETCH (UID 1)" else commands:
                with self.subTest(text=text, command=command):
                    responses, _ = self.under("%s:*=%s" % (command.split()[0].lower(), text), command=command)
                    self.assertFalse([row for row in responses if row.startswith(text.encode())], responses)
        # Nor of the message of which it begins to speak.
        responses, _ = self.under("fetch:*=raw * 4 FETCH (BODY[] {7}\\r\\nx: yyyy)\\r\\n",
                                  command="FETCH 1 (BODY.PEEK[])")
        self.assertEqual(len(responses), 1)
        self.check_others()

    def test_floods(self):
        self.begin()
        for action in ("endless", "garbage"):
            with self.subTest(action=action):
                self.under("fetch:*=" + action, command="FETCH 1:3 (FLAGS)")
        self.under("select:*=endless", command="SELECT INBOX", select=False)
        self.under("fetch:*=raw * 1 FETCH (FLAGS (%s))\\r\\n" % " ".join("a%d" % i for i in range(60)),
                   command=FETCHES[1], wants_bye=False)
        self.check_others()

    def test_flood_of_whole_responses(self):
        """What is whole is passed on, at the client's own speed; memory stays."""
        self.begin()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        before = self.resident_kb()
        self.server.faults("noop:*=flood")
        raw.send("x NOOP\r\n")
        time.sleep(2)
        self.assertLess(self.resident_kb() - before, GROWTH_KB)
        self.server.faults()
        raw.close()
        self.check_others()

    def test_stalls(self):
        self.begin()
        for fault in ("fetch:*=stall", "fetch.each:1=stall", "fetch.end:*=stall"):
            for command in FETCHES[:2]:
                with self.subTest(fault=fault, command=command):
                    self.under(fault, command=command)
        responses, said = self.under("literal:2=stall", command=FETCHES[2], wants_bye=False)
        self.assertEqual(said, b"")
        self.check_others()

    def test_slow(self):
        self.begin()
        self.server.faults("connect:*=slow")
        with self.imap() as client:
            client.select(readonly=True)
            self.assertEqual([literals[0] for _, _, literals in fetched(client, "1,3", "(BODY.PEEK[])")],
                             [from_bob("one"), from_bob("three", "x" * 300)])
            self.assertIn(corpus.CANARY, whole(client, 2))
        self.server.faults()
        self.check_others()

    def test_before_login(self):
        """A login that cannot be carried out is NO, and the client may try again."""
        self.begin()
        for fault in ("connect:*=cut", "connect:*=stall", "greeting:*=bye away", "greeting:*=stall",
                      "greeting:*=garbage", "greeting:*=endless", "greeting:*=flood", "greeting:*=preauth",
                      "greeting:*=only * NO go away\\r\\n",
                      "login:*=cut", "login:*=stall", "login:*=bye", "login:*=garbage", "login:*=endless",
                      "login:*=flood", "login:*=NO [UNAVAILABLE] no", "login:*=BAD no", "login:*=only + go on\\r\\n"):
            with self.subTest(fault=fault), Raw(self.proxy.imap_port) as raw:
                self.server.faults(fault)
                responses, said = raw.command("LOGIN alice secret")
                self.server.faults()
                self.assertEqual(responses, [])
                self.assertRegex(said, rb"^(NO|BAD)")
                raw.ok("LOGIN alice secret")
        self.check_others()

    def test_selected_mailbox_lies(self):
        self.begin()
        for text in ("* OK [UIDVALIDITY 0] x", "* OK [UIDVALIDITY x] x", "* LIST (\\\\Noselect) {3}", "* 2 EXISTS"):
            with self.subTest(text=text):
                self.under("select.end:*=" + text, command="SELECT INBOX", select=False)
        # What is merely odd is the client's to judge.
        for text in ("* OK [UIDNEXT 99999999999] x", "* 7 EXISTS", "* FLAGS", "* OK [READ-ONLY"):
            with self.subTest(text=text):
                responses, said = self.under("select.end:*=" + text, command="SELECT INBOX", select=False,
                                             wants_bye=False)
                self.assertIn(text.encode(), responses)
                self.assertTrue(said.startswith(b"OK"), said)
        self.check_others()

    def test_commands_refused(self):
        """NO is the server's answer, and the session goes on."""
        self.begin()
        with self.imap() as client:
            client.select()
            for name, command in (("search", lambda: client.search(None, "BODY", "x")),
                                  ("store", lambda: client.store("2", "+FLAGS", "x")),
                                  ("copy", lambda: client.copy("2", "INBOX")),
                                  ("fetch", lambda: client.fetch("1:3", "(BODY.PEEK[])")),
                                  ("append", lambda: client.append("INBOX", None, None, corpus.text())),
                                  ("select", lambda: client.select("INBOX"))):
                with self.subTest(name=name):
                    self.server.faults("%s:*=NO [LIMIT] not now" % name)
                    self.assertEqual(command()[0], "NO")
                    self.server.faults()
                    client.select()
                    self.assertIn(corpus.CANARY, whole(client, 2))
        self.check_others()


COMMANDS = [b"LOGIN alice secret", b"SELECT INBOX", b"EXAMINE INBOX", b"FETCH 1:* (FLAGS UID)", b"FETCH 1:* FULL",
            b"FETCH 2 (BODY[] BODY.PEEK[1]<0.10>)", b"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)", b"SEARCH ALL",
            b"SEARCH OR BODY x NOT SUBJECT y", b"UID SEARCH CHARSET UTF-8 TEXT {1}\r\nx", b"STORE 1 +FLAGS (x)",
            b"NOOP", b"COPY 1 INBOX", b"IDLE\r\nDONE", b"LIST \"\" *", b"STATUS INBOX (MESSAGES)", b"CAPABILITY",
            b"ID NIL", b"APPEND INBOX {4+}\r\nx: y", b"APPEND INBOX (\\Seen) {12+}\r\nx: y\r\n\r\nz\r\n", b"CLOSE",
            b"UNSELECT",
            b"AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", b"STARTTLS", b"CHECK", b"EXPUNGE", b"ENABLE CONDSTORE",
            b"COMPRESS DEFLATE", b"NAMESPACE", b"LOGOUT"]
NASTY = [b"\0", b"\xff", b"\r", b"\n", b"\"", b"\\", b"(", b")", b"[", b"]", b"{", b"}", b"{99999999999}", b"{5}\r\n",
         b"{0+}\r\n", b"~{3+}\r\n", b"*", b"%", b"<0.1>", b"A" * 9000, b"(" * 3000, b"9" * 40, b"$", b"\xc3\xa9",
         b"BODY[1.2.3.4.5.6.7.8.9.10.11]", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]


def mutated(chance, line):
    kind = chance.random()
    at = chance.randrange(len(line) + 1)
    if kind < 0.5:
        return line
    if kind < 0.7:
        return line[:at] + chance.choice(NASTY) + line[at:]
    if kind < 0.8:
        return line[:at]
    if kind < 0.9 and line:
        return line[:at] + bytes([chance.randrange(256)]) + line[at + 1:]
    return line[:at] + line[at:] * 2


def stream(number):
    """What one client sends; the same for the same number."""
    chance = random.Random(number)
    lines = [b"LOGIN alice secret", b"SELECT INBOX"] if chance.random() < 0.7 else []
    lines += [mutated(chance, chance.choice(COMMANDS)) for _ in range(chance.randrange(1, 9))]
    return b"".join(b"t%d %s\r\n" % item for item in enumerate(lines))


class Clients(Measured):
    def test_streams(self):
        self.begin(timeout_percent=5)
        self.server.put(from_bob("one"), encrypted(from_bob("two")), from_bob("three"))
        family = None
        for number in range(STREAMS):
            with Raw(self.proxy.imap_port) as raw:
                try:
                    raw.send(stream(number))
                    if number % 2 == 0:
                        raw.send(b"\r\n\r\nDONE\r\nx LOGOUT\r\n")
                        raw.socket.settimeout(0.3)
                        while raw.socket.recv(65536):
                            pass
                except OSError:
                    # It may hang up at any time, or wait for the rest of a literal.
                    pass
            if number == 300:
                family = self.proxy.workers()
                begun = self.resident_kb()
        self.assertEqual(self.proxy.workers(), family)
        wait_for(lambda: self.resident_kb() - begun < GROWTH_KB, "the memory to be given back")
        with self.imap() as client:
            client.select(readonly=True)
            self.assertIn(corpus.CANARY, whole(client, 2))
        for word in ("ended with status", "died"):
            self.assertNotIn(word, self.proxy.log())

    def test_twenty_bad_commands(self):
        self.begin()
        for login in (False, True):
            raw = self.raw(login=login)
            raw.send(b"".join(b"x%d NONSENSE\r\n" % number for number in range(40)))
            responses = raw.to_the_end()
            self.assertTrue(responses[0].startswith(b"x0 BAD"), responses[0])
            self.assertTrue(responses[-1].startswith(b"* BYE"), responses[-1])
            self.assertLessEqual(len(responses), 25)

    def flood(self, raw, data):
        """Sends until it is told to stop; what it was told."""
        try:
            for _ in range(1000):
                raw.send(data)
        except OSError:
            # The connection may also be closed on it.
            pass
        return raw.to_the_end()

    def test_endless_line(self):
        self.begin()
        before = self.resident_kb()
        for login in (False, True):
            responses = self.flood(self.raw(login=login), b"a" * 65536)
            self.assertRegex(responses[0], rb"^\* BAD .*too long")
            self.assertRegex(responses[1], rb"^\* BYE")
        self.assertLess(self.resident_kb() - before, GROWTH_KB)
        with self.imap() as client:
            client.noop()

    def test_literals_that_are_too_long(self):
        self.begin()
        raw = self.raw()
        for text in ("SEARCH BODY {99999999}", "SELECT {70000000}", "APPEND INBOX {4294967295}"):
            responses, said = raw.command(text)
            self.assertRegex(said, rb"^(NO|BAD)", text)
            self.assertEqual(responses, [])
        raw.ok("NOOP")
        # One that a client sends all the same is skipped while that is bearable.
        raw.send(b"p SEARCH BODY {3000000+}\r\n" + b"x" * 3000000 + b"\r\n")
        self.assertRegex(raw.answer("p")[1], rb"^(NO|BAD)")
        raw.ok("NOOP")
        # A number that is none ends it.
        raw.send("q APPEND INBOX {99999999999999999999}\r\n")
        self.assertRegex(raw.line(), rb"BAD")
        self.assertRegex(raw.line(), rb"^\* BYE")

    def test_gone_while_it_is_served(self):
        self.begin()
        self.server.put(*[encrypted(from_bob("n%d" % number)) for number in range(30)])
        for _ in range(5):
            raw = self.raw()
            raw.ok("SELECT INBOX")
            raw.send("x FETCH 1:* (BODY.PEEK[])\r\n")
            raw.take(100)
            raw.close()
        with self.imap() as client:
            client.select()
            self.assertEqual(len(fetched(client, "1:*", "(BODY.PEEK[])")), 30)


if __name__ == "__main__":
    unittest.main()
