"""seal, open, key show, why and check with certificates: private keys in the store and on a token, and what is said of
chains."""
import json
import os
import re
import subprocess
import unittest

import harness
import rsa_keys
import test_private_keys
from harness import ALICE, BOB
from test_private_keys import openssl

SECRET = b"the jabberwock"
LETTER = (b"From: %s\r\nTo: %s\r\nSubject: a letter\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
          b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + SECRET + b"\r\n")
RULE = 'rule all { encrypt = required  sign = always  format = smime }'
HTML = b"Content-Type: text/html\r\n\r\n<p>" + SECRET + b"</p>\r\n"


class World(test_private_keys.Commands):
    """Alice and Bob have certificates by one authority."""

    def setUp(self):
        super().setUp()
        self.issue("bob", BOB)
        self.proxy = harness.Proxy(self, harness.RefServer(self), rules=RULE, start=False,
                                   account='    smime_ca = "%s"' % self.files.path("ca.pem"))

    def issue(self, name, address, *options):
        """By the authority, or by itself with the `options` for openssl req."""
        path = self.files.path
        rsa_keys.put(path(name + ".key"))
        subject = ("-key", path(name + ".key"), "-subj", "/CN=" + name)
        if options:
            openssl("req", "-x509", *subject, "-out", path(name + ".pem"), "-addext", "subjectAltName=email:" + address,
                    *options)
            return
        with open(path(name + ".cnf"), "w", encoding="ascii") as file:
            file.write("subjectAltName=email:%s\nbasicConstraints=CA:FALSE\n" % address)
        openssl("req", "-new", *subject, "-out", path(name + ".csr"))
        openssl("x509", "-req", "-in", path(name + ".csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"),
                "-CAcreateserial", "-days", "30", "-extfile", path(name + ".cnf"), "-out", path(name + ".pem"))

    def pipe(self, *words, data, status=0):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], input=data,
                              capture_output=True, check=False, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, status, done.stdout[-2000:] + done.stderr)
        return done.stdout, done.stderr.decode(errors="replace")

    def assert_both_ways(self):
        """What Alice seals to Bob he opens and verifies, and so does she; what he seals, she opens."""
        self.run_command("key", "import", self.files.path("bob.pem"))
        sealed, _ = self.pipe("seal", data=LETTER % (ALICE.encode(), BOB.encode()))
        self.assertNotIn(SECRET, sealed)
        inner = openssl("cms", "-decrypt", "-recip", self.files.path("bob.pem"), "-inkey", self.files.path("bob.key"),
                        data=sealed)
        self.assertIn(SECRET, openssl("cms", "-verify", "-CAfile", self.files.path("ca.pem"), data=inner))
        view, verdict = self.pipe("open", data=sealed)
        self.assertRegex(verdict, r"^signature=good; signer=%s; trust=full; encryption=smime; integrity=ok" % ALICE)
        self.assertIn(SECRET, view)
        view, verdict = self.pipe("open", data=self.from_bob(HTML))
        self.assertRegex(verdict, r"^signature=good; signer=%s; trust=full; encryption=smime; integrity=ok" % BOB)
        self.assertIn(b"text/html", view)

    def from_bob(self, entity, *, order=("sign", "encrypt")):
        """A message by Bob's openssl to Alice."""
        for step in order:
            if step == "sign":
                entity = openssl("cms", "-sign", "-binary", "-crlfeol", "-signer", self.files.path("bob.pem"), "-inkey",
                                 self.files.path("bob.key"), data=entity)
            else:
                entity = openssl("cms", "-encrypt", "-binary", "-crlfeol", "-aes-256-cbc", "-recip",
                                 self.files.path("alice.pem"), data=entity)
            entity = re.sub(rb"\r?\n", b"\r\n", entity)
        return LETTER.split(b"MIME-Version")[0] % (BOB.encode(), ALICE.encode()) + entity


class Store(World):
    def test_while_serve_runs_and_not(self):
        self.import_own("alice.key", "alice.pem", passphrase=None)
        self.assert_both_ways()
        self.proxy.start()
        self.assert_both_ways()
        self.proxy.stop()
        self.run_command("key", "delete", "--yes", "--secret", self.files.fingerprint)
        self.pipe("open", data=self.from_bob(HTML), status=1)
        self.pipe("seal", data=LETTER % (ALICE.encode(), BOB.encode()), status=1)

    def test_good_is_nothing_less(self):
        """Whoever asks by the exit status alone hears "good" only where the verdict is."""
        self.import_own("alice.key", "alice.pem", passphrase=None)
        for order, status, words in ((("sign",), 0, ("good", "none", "ok")),
                                     (("sign", "encrypt"), 0, ("good", "smime", "ok")),
                                     (("encrypt", "sign"), 1, ("good", "smime", "none")),
                                     (("encrypt",), 1, ("none", "smime", "none"))):
            with self.subTest(order=order):
                message = self.from_bob(HTML, order=order)
                told, _ = self.pipe("open", "--report", data=message, status=status)
                self.assertRegex(told.decode(), r"^signature=%s;.* encryption=%s; integrity=%s;" % words)
                told = json.loads(self.pipe("open", "--report", "--json", data=message, status=status)[0])
                self.assertEqual((told["signature"], told["encryption"], told["integrity"]), words)
        self.run_command("key", "delete", "--yes", "--secret", self.files.fingerprint)
        told, _ = self.pipe("open", "--report", data=self.from_bob(HTML, order=("encrypt", "sign")), status=1)
        self.assertRegex(told.decode(), r"^signature=good;.* encryption=failed;")

    def test_told_where_the_chain_leads(self):
        self.import_own("alice.key", "alice.pem", passphrase=None)
        self.run_command("key", "import", self.files.path("bob.pem"))
        shown = self.run_command("key", "show", self.files.print_of("bob.pem")).decode()
        self.assertRegex(shown, r"chain +the certificate leads to a trust anchor\n +1: CN=bob\n +issued by CN=Test CA\n"
                         r" +valid from \S+ until \S+\n +2: CN=Test CA\n(.*\n){2} +a trust anchor\n")
        self.assertIn("the certificate leads to a trust anchor\n", self.run_command("why", BOB).decode())
        self.assertNotIn("revo", shown)

    def test_marked_as_issuers(self):
        """As plain `openssl req -x509` makes them."""
        self.issue("carol", "carol@example.com", "-days", "30")
        said = self.run_command("key", "import", self.files.path("carol.pem")).decode()
        self.assertRegex(said, "CA:TRUE.*carol@example.com")
        said = self.run_command("key", "import", self.files.path("ca.pem")).decode()
        self.assertNotIn("CA:TRUE", said)
        self.issue("mine", ALICE, "-days", "30")
        self.assertIn("CA:TRUE", self.import_own("mine.key", "mine.pem", passphrase=None))
        self.assertRegex(self.check(), r"BAD +%s +the own certificate %s is marked.*CA:TRUE" % (
            ALICE, self.files.print_of("mine.pem")))

    def check(self):
        done = subprocess.run([harness.PRIVYSEAL, "check", "--offline", "--config", self.proxy.config], check=False,
                              capture_output=True, timeout=60)
        return done.stdout.decode()

    def test_expired(self):
        leaf = ("-addext", "basicConstraints=CA:FALSE")
        self.issue("old", ALICE, "-days", "1", *leaf)
        self.import_own("old.key", "old.pem", passphrase=None)
        self.assertRegex(self.check(), r"warning +%s +the own certificate %s expires" % (
            ALICE, self.files.print_of("old.pem")))
        done = subprocess.run([harness.PRIVYSEAL, "check", "--offline", "--config", self.proxy.config, "--at",
                               "2040-01-01"], check=False, capture_output=True, timeout=60).stdout.decode()
        self.assertRegex(done, r"(warning|BAD) +%s +the own certificate %s has expired on" % (
            ALICE, self.files.print_of("old.pem")))
        # One that is good now: nothing is wrong with keeping the old one.
        self.import_own("alice.key", "alice.pem", passphrase=None)
        self.assertNotIn("has expired", self.check())


class Token(World, test_private_keys.Token):
    test_pin = None  # is tested where it comes from

    def setUp(self):
        test_private_keys.Token.setUp(self)
        self.issue("bob", BOB)
        text = self.proxy.text.replace(
            "    login =", '    smtp = "smtp+clear://127.0.0.1:9"\n    smime_ca = "%s"\n    login =' %
            self.files.path("ca.pem"), 1).replace(harness.TRUSTING, RULE)
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(text)

    def test_seal_and_open(self):
        self.run_command("key", "import", "--token", "pkcs11:token=tests;id=%01")
        self.write("pin", "123456")
        self.assert_both_ways()
        self.assertGreater(len(re.findall("asked", self.read("asked"))), 0)


if __name__ == "__main__":
    unittest.main()
