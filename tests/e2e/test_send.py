"""Real mail programs send every kind of mail through privyseal; plain gpg and Python read what arrives."""
import unittest

import clients
import corpus
import harness
from harness import ALICE, BOB, CAROL, DAVE, World

SIGN_ONLY = 'rule "all" { encrypt = never  sign = always }'
PLAIN = 'rule "all" { encrypt = never  sign = never }'
FROM_ALICE = corpus.lines("From: Alice <%s>\nDate: Fri, 20 Nov 2026 12:00:00 +0000\nMessage-ID: <here@example.org>\n" %
                          ALICE)


class Send(World):
    def sent_by(self, client, tls, upstream="none", big=True):
        """Sends each kind of mail and checks what arrives."""
        server = harness.RefServer(self, tls=upstream)
        proxy = harness.Proxy(self, server, rules=harness.TRUSTING)
        count = 0
        for kind, message in corpus.all_messages():
            if kind == "big" and not big:
                continue
            with self.subTest(kind=kind):
                client(proxy, message, [BOB], tls=tls)
                count += 1
                mail = server.mail()
                self.assertEqual(len(mail), count)
                envelope, content = mail[-1]
                self.assertEqual(envelope["rcpt"], ["TO:<%s>" % BOB])
                self.assertEqual(envelope["tls"], upstream != "none")
                self.assertTrue(envelope["mail"].startswith("FROM:<%s>" % ALICE))
                self.assertNotIn("BODY=8BITMIME", envelope["mail"])
                corpus.check_sealed(self, message, content)
        self.assertEqual(count, len(corpus.KINDS) - (0 if big else 1))
        self.assertNotIn(corpus.CANARY, server.wire())

    def test_smtplib_in_clear(self):
        self.sent_by(clients.with_smtplib, tls=False)

    def test_smtplib_under_tls_to_starttls(self):
        self.sent_by(clients.with_smtplib, tls=True, upstream="starttls", big=False)

    def test_curl_in_clear(self):
        self.sent_by(clients.with_curl, tls=False, big=False)

    def test_curl_under_tls_to_implicit_tls(self):
        self.sent_by(clients.with_curl, tls=True, upstream="implicit")

    def test_swaks_under_tls(self):
        self.sent_by(clients.with_swaks, tls=True)

    def test_signed_only(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=SIGN_ONLY)
        for kind, message in corpus.all_messages():
            if kind == "big":
                continue
            with self.subTest(kind=kind):
                clients.with_smtplib(proxy, message, [DAVE])
                corpus.check_signed(self, message, server.mail()[-1][1], self.folder)

    def test_plain_leaves_as_it_is(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=PLAIN)
        for kind, message in corpus.all_messages():
            with self.subTest(kind=kind):
                clients.with_smtplib(proxy, message, [DAVE])
                envelope, content = server.mail()[-1]
                self.assertTrue(harness.without_autocrypt(content) == message)
                self.assertEqual("BODY=8BITMIME" in envelope["mail"], not message.isascii())

    def test_bytes_of_a_signed_part_stay(self):
        """A signature made by hand still verifies within the sealed message, and the bytes under it are the same."""
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=harness.TRUSTING)
        message = corpus.signed()
        clients.with_smtplib(proxy, message, [BOB])
        opened = corpus.Opened(server.mail()[0][1]).decrypt()
        content, signature = corpus.cut_signed(opened.plain.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        self.assertEqual((content, signature), corpus.cut_signed(message))
        self.assertIn("GOODSIG", harness.keys().verify(signature, content, self.folder))

    def test_encrypted_to_everybody_who_is_named_and_to_the_sender(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=harness.TRUSTING)
        message = FROM_ALICE + b"To: bob@example.net\r\nCc: carol@example.com\r\nSubject: two\r\n\r\nfor two\r\n"
        clients.with_smtplib(proxy, message, [BOB, CAROL])
        (envelope, content), = server.mail()
        self.assertEqual(len(envelope["rcpt"]), 2)
        opened = corpus.Opened(content)
        ids = harness.keys().key_ids_of(opened.outer.get_payload(1).get_payload(decode=True))
        keyring = harness.keys()
        for address in (ALICE, BOB, CAROL):
            self.assertEqual(len(ids & keyring.encryption_key_ids(address)), 1)
        self.assertEqual(len(ids), 3)

    def test_some_sealed_and_some_plain(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=harness.TRUSTING)
        message = FROM_ALICE + b"To: bob@example.net, dave@example.edu\r\nSubject: split\r\n\r\nfor both\r\n"
        clients.with_smtplib(proxy, message, [BOB, DAVE])
        mail = {envelope["rcpt"][0]: content for envelope, content in server.mail()}
        corpus.check_sealed(self, message, mail["TO:<%s>" % BOB])
        corpus.check_signed(self, message, mail["TO:<%s>" % DAVE], self.folder)
        self.assertEqual(server.recipients(), [BOB, DAVE])

    def test_comments_and_keywords_go_inside(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules=harness.TRUSTING)
        message = (FROM_ALICE + b"To: bob@example.net\r\nSubject: s KANARIENVOGEL\r\nComments: c KANARIENVOGEL\r\n"
                   b"Keywords: k, KANARIENVOGEL\r\n\r\nx\r\n")
        clients.with_smtplib(proxy, message, [BOB])
        opened = corpus.check_sealed(self, message, server.mail()[0][1])
        self.assertIsNone(opened.outer["Comments"])
        self.assertIsNone(opened.outer["Keywords"])
        self.assertEqual(opened.inner["Comments"], "c KANARIENVOGEL")
        self.assertEqual(opened.inner["Keywords"], "k, KANARIENVOGEL")
        names = {value.split(":")[0] for value in corpus.unfolded(opened.inner, "HP-Outer")}
        self.assertEqual(names, {"From", "To", "Subject", "Date", "Message-ID"})
        self.assertIsNone(opened.outer["HP-Outer"])


if __name__ == "__main__":
    unittest.main()
