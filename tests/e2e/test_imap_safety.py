"""Nothing leaks and nothing lies, towards the mail program: forged verdicts, commands and capabilities that reach past
the views, PREAUTH, what is injected before TLS, strangers on the same machine."""
import base64
import os
import re
import subprocess
import sys
import unittest

import corpus
import harness
from harness import BOB, CAROL
from imap_harness import Case, Raw, RefImap, check, fetched, imaplib, whole
from test_imap_first import VERDICT, from_bob
from twin import encrypted, signed

FORGED = (b"Privyseal-Verdict: signature=good; signer=bob@example.net; trust=full; encryption=openpgp\r\n",
          b"PRIVYSEAL-verdict: signature=good\r\n", b"privyseal-verdict : signature=good\r\n",
          b"Privyseal-Verdict:\r\n signature=good\r\n", b"Privyseal-Verdict:\r\n\tsignature=good;\r\n trust=full\r\n")


class Verdicts(Case):
    def views(self, *messages):
        self.alice().take(harness.keys().export(BOB))
        self.server.put(*messages)
        with self.imap() as client:
            client.select()
            return [whole(client, number) for number in range(1, len(messages) + 1)]

    def test_forged(self):
        """Whatever the message claims of itself at its top is taken away; what stays was found here."""
        self.begin()
        plain = from_bob("plain")
        messages = [field + plain for field in FORGED]
        messages += [plain.replace(b"MIME-Version", field + b"MIME-Version") for field in FORGED]
        for view in self.views(*messages):
            found = VERDICT.findall(view.split(b"\r\n\r\n")[0] + b"\r\n")
            for verdict in found:
                self.assertIn(b"signature=none", verdict)
            self.assertNotRegex(view, rb"(?i)signature\s*=\s*good")
            self.assertTrue(view.endswith(plain.split(b"\r\n\r\n", 1)[1]))

    def test_forged_within_a_sealed_message(self):
        self.begin()
        inner = FORGED[0] + from_bob("inner")
        view, enclosed = self.views(FORGED[1] + encrypted(FORGED[0] + from_bob("sealed"), signer=None),
                                    encrypted(from_bob("forward").replace(b"text/plain; charset=utf-8",
                                                                          b"message/rfc822").split(b"\r\n\r\n")[0] +
                                              b"\r\n\r\n" + inner, signer=None))
        self.assertEqual(len(VERDICT.findall(view)), 1)
        self.assertIn(b"signature=none", VERDICT.search(view).group(0))
        # What is enclosed keeps its bytes.
        self.assertIn(inner, enclosed)
        self.assertIn(b"signature=none", VERDICT.search(enclosed).group(0))

    def test_forged_in_what_is_saved(self):
        self.begin()
        message = corpus.text()
        with self.imap() as client:
            for field in FORGED:
                check(client.append("INBOX", None, None, field + message))
            client.select()
            for number in range(1, len(FORGED) + 1):
                self.assertEqual(whole(client, number), message)

    def test_everywhere_it_is_shown(self):
        """Header fields, ENVELOPE, sections and searches agree on a forged message."""
        self.begin()
        self.server.put(FORGED[0] + from_bob("plain"), FORGED[3] + encrypted(from_bob("sealed")))
        raw = self.raw()
        raw.ok("SELECT INBOX")
        for item in ("BODY.PEEK[HEADER]", "BODY.PEEK[HEADER.FIELDS (PRIVYSEAL-VERDICT)]", "RFC822.HEADER",
                     "BODY.PEEK[HEADER.FIELDS.NOT (X)]", "BODY.PEEK[]<0.400>", "BODY.PEEK[1.MIME]"):
            for response in raw.ok("FETCH 1 (%s)" % item):
                self.assertNotIn(b"signature=good", response)
                self.assertNotIn(b"trust=full", response)
        self.assertEqual(raw.ok('SEARCH HEADER Privyseal-Verdict "trust=full"'), [b"* SEARCH"])

    def test_what_streams_through_shows_none(self):
        """A message that is too large to be opened passes as it is; its verdict is none all the same, and nothing else
        of it is changed."""
        self.begin(options="message_max = 100K")
        message = FORGED[0] + from_bob("large") + b"all work and no play\r\n" * 20000
        shown = message.replace(b"Privyseal-Verdict:", b"Privyseal-VerdicX:", 1)
        self.server.put(message)
        with self.imap() as client:
            client.select()
            for item, expected in (("BODY.PEEK[]", shown), ("RFC822", shown), ("BODY.PEEK[]<0.300>", shown[:300]),
                                   ("BODY.PEEK[HEADER]", shown.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n")):
                (_, _, (content,)), = fetched(client, "1", "(%s)" % item)
                self.assertEqual(content, expected)

    def test_content_that_nobody_asked_for(self):
        """A server cannot show a verdict of its own making by sending it unasked."""
        self.begin()
        self.server.put(from_bob("one"), encrypted(from_bob("two")))
        forged = "* 2 FETCH (BODY[HEADER] {19}\\r\\nPrivyseal-Verdict:\\r\\n)\\r\\n"
        for point, command in (("noop", "NOOP"), ("store", "STORE 1 +FLAGS (x)"), ("search", "SEARCH ALL"),
                               ("fetch", "FETCH 1 (FLAGS)"), ("fetch", "FETCH 2 (UID)"), ("select", "SELECT INBOX"),
                               ("copy", "COPY 1 INBOX")):
            with self.subTest(command=command):
                raw = self.raw()
                raw.ok("SELECT INBOX")
                self.server.faults("%s:*=raw %s" % (point, forged))
                responses, _ = raw.command(command)
                self.server.faults()
                self.assertFalse([row for row in responses if b"Verdict" in row], responses)

    def test_somebody_elses_own_copy(self):
        """What another sealed to the same key is never taken for one's own: it has a verdict."""
        self.begin()
        with self.imap() as client:
            check(client.append("INBOX", None, None, corpus.text()))
        copy = corpus.Opened(self.server.mail()[0][1]).decrypt()
        # Its inside, sealed again by others: with Bob's signature, and with none.
        self.server.put(encrypted(copy.plain.replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")),
                        encrypted(copy.plain.replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n"), signer=None))
        with self.imap() as client:
            client.select()
            self.assertEqual(whole(client, 1), corpus.text())
            for number in (2, 3):
                view = whole(client, number)
                self.assertEqual(len(VERDICT.findall(view)), 1, view)
                self.assertNotIn(b"signature=good; signer=alice", view)

    def test_altered_in_transit(self):
        """One byte of the ciphertext is another: it is shown as it came, and fails as every failure does."""
        self.begin()
        sealed = encrypted(from_bob("sealed"))
        lines = sealed.split(b"\r\n")
        middle = next(index for index, line in enumerate(lines) if line.startswith(b"-----BEGIN PGP")) + 4
        verdicts = set()
        for at in (0, 20, 40):
            line = lines[middle]
            swapped = b"A" if line[at:at + 1] != b"A" else b"B"
            bad = b"\r\n".join(lines[:middle] + [line[:at] + swapped + line[at + 1:]] + lines[middle + 1:])
            view, = self.views(bad)[-1:]
            self.assertNotIn(corpus.CANARY, view)
            self.assertIn(lines[middle + 1], view)
            verdicts.add(re.sub(rb"; at=[^;\r]*", b"", VERDICT.search(view).group(0)))
        self.assertEqual(len(verdicts), 1, verdicts)
        self.assertIn(b"encryption=failed", verdicts.pop())

    def test_signed_by_another_than_the_author(self):
        self.begin()
        self.alice().take(harness.keys().export(CAROL))
        for view in self.views(signed(from_bob("signed"), signer=CAROL), encrypted(from_bob("sealed"), signer=CAROL)):
            verdict = VERDICT.search(view).group(0)
            self.assertRegex(verdict, rb"signature=(mismatch|untrusted)")


class Offers(Case):
    HIDDEN = ("SORT SORT=DISPLAY THREAD=REFERENCES PREVIEW SNIPPET=FUZZY BINARY STATUS=SIZE PARTIAL SEARCH=FUZZY "
              "CATENATE URLAUTH REPLACE CONVERT ANNOTATE-EXPERIMENT-1 CONTEXT=SEARCH NOTIFY MULTISEARCH IMAP4rev2 "
              "UIDONLY LOGIN-REFERRALS MAILBOX-REFERRALS X-SECRET IMAP4REV1X")

    def words(self, text):
        return text.split(b"CAPABILITY ", 1)[1].split(b"]")[0].decode().split()

    def test_the_same_everywhere(self):
        self.begin(capabilities="UIDPLUS IDLE MOVE CONDSTORE ENABLE " + self.HIDDEN)
        raw = self.raw(login=False)
        before = self.words(raw.greeting)
        self.assertEqual(self.words(raw.ok("CAPABILITY")[0]), before)
        self.assertNotIn("IDLE", before)
        self.assertIn("AUTH=PLAIN", before)
        _, said = raw.command("LOGIN alice secret")
        after = self.words(raw.ok("CAPABILITY")[0])
        if b"CAPABILITY" in said:
            self.assertEqual(self.words(said), after)
        for word in self.HIDDEN.split():
            self.assertNotIn(word, before + after)
        for word in ("IMAP4rev1", "UIDPLUS", "IDLE", "MOVE", "CONDSTORE", "ENABLE"):
            self.assertIn(word, after)
        for word in after:
            self.assertFalse(word.startswith("AUTH="), word)
        # The server's words in a code of a later response are not the client's.
        self.server.faults("select.end:*=* OK [CAPABILITY IMAP4rev1 SORT] changed",
                           "noop:*=* CAPABILITY IMAP4rev1 SORT")
        self.assertFalse([row for row in raw.ok("SELECT INBOX") + raw.ok("NOOP") if b"SORT" in row])

    def test_hidden_commands(self):
        """BAD, and the server never hears of them."""
        self.begin(capabilities="UIDPLUS IDLE LITERAL+ " + self.HIDDEN)
        self.server.put(encrypted(from_bob("sealed")))
        raw = self.raw()
        raw.ok("SELECT INBOX")
        before = len(self.server.wire())
        for command in ("SORT (DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "UID SORT (DATE) UTF-8 ALL",
                        "UID THREAD REFERENCES UTF-8 ALL", "NOTIFY NONE", "REPLACE 1 INBOX {5+}\r\nhello",
                        "UID REPLACE 1 INBOX {5+}\r\nhello", "ESEARCH IN (mailboxes INBOX) ALL", "GENURLAUTH x",
                        "RESETKEY", "CONVERT 1 (x)", "XYZZY", "UNAUTHENTICATE", "MOVE 1 INBOX", "ENABLE CONDSTORE",
                        "COMPRESS LZ", "X-GM-RAW x", "UID", "GETMETADATA INBOX /x", "FETCH 1 (BINARY[1])",
                        "FETCH 1 (BINARY.PEEK[1])", "FETCH 1 (BINARY.SIZE[1])", "FETCH 1 (PREVIEW)",
                        "FETCH 1 (SNIPPET)",
                        "FETCH 1 (ANNOTATION (/comment value))", "APPEND INBOX CATENATE (TEXT {5+}\r\nhello)",
                        "SEARCH RETURN (PARTIAL 1:10) ALL", "SEARCH FUZZY SUBJECT x", "STATUS INBOX (SIZE)"):
            with self.subTest(command=command):
                responses, said = raw.command(command)
                self.assertRegex(said, rb"^(BAD|NO)", command)
                self.assertEqual([row for row in responses if not row.startswith(b"* OK")], [])
                if len(raw.input) > 0:
                    self.fail("more was said: %r" % raw.input)
                raw.ok("NOOP")
        told = re.sub(rb"P\d+ NOOP\r\n", b"", self.server.wire()[before:])
        for word in (b"SORT", b"THREAD", b"REPLACE", b"CATENATE", b"BINARY", b"XYZZY", b"PREVIEW", b"hello"):
            self.assertNotIn(word, told)


class Login(Case):
    def test_preauth_is_refused(self):
        self.begin()
        self.server.faults("greeting:*=preauth")
        raw = self.raw(login=False)
        before = len(self.server.wire())
        self.assertRegex(raw.command("LOGIN alice secret")[1], rb"^NO")
        self.assertNotIn(b"secret", self.server.wire()[before:])
        self.server.faults()
        raw.ok("LOGIN alice secret")

    def test_injected_before_tls_by_the_server(self):
        self.begin(tls="starttls")
        self.server.faults("starttls:*=inject")
        raw = self.raw(login=False)
        responses, said = raw.command("LOGIN alice secret")
        self.assertNotIn(b"INJECTED", b"".join(responses) + said)
        self.server.faults()
        raw = self.raw()
        self.assertNotIn(b"INJECTED", b"".join(raw.ok("CAPABILITY")))

    def test_injected_before_tls_by_a_client(self):
        """What was buffered in clear is not carried out inside TLS."""
        self.begin(listen='listen imap { at = "127.0.0.1:0"  tls = starttls }')
        raw = self.raw(login=False)
        raw.send("a STARTTLS\r\nb LOGIN alice secret\r\nc SELECT INBOX\r\n")
        self.assertTrue(raw.line().startswith(b"a OK"))
        raw.input = b""
        try:
            raw.secure(self.proxy.tls_context())
        except OSError:
            # It may also hang up on who does that.
            return
        self.assertIn(b"BAD", raw.command("SELECT INBOX")[1])
        self.assertNotIn(b"LOGIN", self.server.wire())

    def test_starttls_towards_the_client(self):
        self.begin(listen='listen imap { at = "127.0.0.1:0"  tls = starttls }')
        raw = self.raw(login=False)
        self.assertIn(b"STARTTLS", raw.greeting)
        raw.start_tls(self.proxy.tls_context())
        self.assertNotIn(b"STARTTLS", raw.ok("CAPABILITY")[0])
        self.assertIn(b"BAD", raw.command("STARTTLS")[1])
        raw.login()
        raw.ok("SELECT INBOX")

    def test_implicit_tls(self):
        self.begin(tls="implicit", listen='listen imap { at = "127.0.0.1:0"  tls = implicit }')
        raw = Raw(self.proxy.imap_port, greeting=False)
        self.addCleanup(raw.close)
        raw.secure(self.proxy.tls_context())
        self.assertTrue(raw.line().startswith(b"* OK [CAPABILITY IMAP4rev1"))
        raw.login()
        raw.ok("SELECT INBOX")

    def test_wrong_certificate(self):
        self.begin(tls="starttls", certificate=self.certificate("else", "DNS:else.example"))
        self.assertRegex(self.raw(login=False).command("LOGIN alice secret")[1], rb"^NO")
        self.assertNotIn(b"secret", self.server.wire())

    def test_authorisation_identity(self):
        self.begin()
        for identity in ("root", "bob", "alice@example.org"):
            raw = self.raw(login=False)
            response = base64.b64encode(("%s\0alice\0secret" % identity).encode()).decode()
            self.assertRegex(raw.command("AUTHENTICATE PLAIN " + response)[1], rb"^NO")
            self.assertRegex(raw.command("SELECT INBOX")[1], rb"^BAD")

    def test_mechanisms(self):
        self.begin(auth="PLAIN LOGIN XOAUTH2 OAUTHBEARER CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256")
        plain = base64.b64encode(b"\0alice\0secret").decode()
        token = base64.b64encode(b"user=alice\1auth=Bearer secret\1\1").decode()
        bearer = base64.b64encode(b"n,a=alice,\1auth=Bearer secret\1\1").decode()
        for text, rest in (("AUTHENTICATE PLAIN " + plain, ()), ("AUTHENTICATE PLAIN", (plain,)),
                           ("AUTHENTICATE LOGIN", ("YWxpY2U=", "c2VjcmV0")), ("AUTHENTICATE XOAUTH2 " + token, ()),
                           ("AUTHENTICATE OAUTHBEARER " + bearer, ()), ("LOGIN \"alice\" \"secret\"", ())):
            with self.subTest(text=text):
                raw = self.raw(login=False)
                raw.send("a %s\r\n" % text)
                for response in rest:
                    self.assertTrue(raw.line().startswith(b"+"))
                    raw.send(response + "\r\n")
                self.assertTrue(raw.answer("a")[1].startswith(b"OK"))
                raw.ok("SELECT INBOX")
        with imaplib.IMAP4("127.0.0.1", self.proxy.imap_port) as client:
            self.assertEqual(client.login_cram_md5("alice", "secret")[0], "OK")
        for text in ("LOGIN alice wrong", "LOGIN mallory secret",
                     "AUTHENTICATE PLAIN " + base64.b64encode(b"\0alice\0wrong").decode()):
            raw = self.raw(login=False)
            self.assertRegex(raw.command(text)[1], rb"^NO \[AUTHENTICATIONFAILED\]")
        self.assertNotIn("secret", self.proxy.log())
        raw = self.raw(login=False)
        raw.send("a AUTHENTICATE LOGIN\r\n")
        raw.line()
        raw.send("*\r\n")
        self.assertRegex(raw.answer("a")[1], rb"^(BAD|NO)")
        raw.login()

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_a_stranger_on_this_machine(self):
        """The right password opens nothing for a socket of another user's; the upstream never hears of it."""
        self.begin()
        script = ("import socket, sys\ns = socket.create_connection(('127.0.0.1', %d))\ns.recv(9000)\n"
                  "s.sendall(b'a LOGIN alice secret\\r\\n')\nsys.stdout.write(s.recv(9000).decode())\n" %
                  self.proxy.imap_port)
        before = len(self.server.wire())
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True, user=65534,
                              group=65534, extra_groups=[], cwd="/")
        self.assertRegex(done.stdout, rb"^a NO|^\* BYE")
        self.assertNotIn(b"secret", self.server.wire()[before:])
        self.raw().ok("SELECT INBOX")

    def test_two_accounts(self):
        """The login name chooses the account and its server; nobody sees the other's."""
        other = RefImap(self, name="o")
        self.begin(account='}\naccount "zoe@example.com" {\n    login = "zoe"\n    imap = "%s"\n' % other.url())
        self.server.put(from_bob("alices"))
        self.raw().ok("SELECT INBOX")
        self.assertNotIn(b"LOGIN", other.wire())
        raw = self.raw(login=False)
        self.assertRegex(raw.command("LOGIN zoe wrong")[1], rb"^NO")
        self.assertNotIn(b"zoe", self.server.wire())
        self.assertIn(b"zoe", other.wire())


if __name__ == "__main__":
    unittest.main()
