#!/usr/bin/python3
"""An account with `revocation`: seal, open, key show and why hear what openssl's authority says of a certificate, also
as of another time."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
from harness import ALICE, BOB  # noqa: E402
from test_revocation import Issuer, Server, openssl  # noqa: E402

RULE = 'rule all { encrypt = when-possible  sign = never  format = smime }'
LETTER = b"From: %s\r\nTo: %s\r\nSubject: a letter\r\n" % (ALICE.encode(), BOB.encode())
TEXT = b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhello\r\n"


class Commands(harness.World):
    def begin(self, mode):
        self.server = Server()
        self.addCleanup(self.server.end)
        self.root = Issuer(self.folder, "Root")
        self.bob, self.key = self.root.issue("bob", ["subjectAltName=email:" + BOB, "crlDistributionPoints=URI:" +
                                                     self.server.url("/list")])
        self.proxy = harness.Proxy(self, harness.RefServer(self), rules=RULE, start=False,
                                   options='revocation_hosts = "127.0.0.1"',
                                   account='    smime_ca = "%s"\n    revocation = %s' % (self.root.certificate, mode))
        self.run_cli("key", "import", self.bob)
        self.fingerprint = openssl("x509", "-in", self.bob, "-noout", "-fingerprint", "-sha256").decode().split(
            "=")[1].strip().replace(":", "")

    def run_cli(self, *words, data=None, status=0):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], input=data,
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def signed(self):
        content = TEXT.split(b"\r\n", 1)[1]
        return LETTER.replace(ALICE.encode(), BOB.encode(), 1) + openssl(
            "cms", "-sign", "-crlfeol", "-signer", self.bob, "-inkey", self.key, data=content).replace(
                b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def publish(self):
        self.server.page("/list", self.root.list())

    def test_hard(self):
        self.begin("hard")
        # Nobody answers.
        self.assertIn("not known whether it has been revoked", self.run_cli("key", "show", self.fingerprint)[0])
        self.run_cli("seal", data=LETTER + TEXT, status=3)
        self.assertRegex(self.run_cli("open", "--report", data=self.signed(), status=1)[0], "^signature=untrusted")
        self.publish()
        self.assertIn("not revoked; its issuer's word counts", self.run_cli("key", "show", self.fingerprint)[0])
        self.assertIn("not revoked; its issuer's word counts", self.run_cli("why", BOB)[0])
        told = json.loads(self.run_cli("why", BOB, "--json")[0])
        self.assertEqual([each["state"] for each in told["key"]["revocation"]], ["good"])
        self.assertIn("smime-type=enveloped-data", self.run_cli("seal", data=LETTER + TEXT)[0])
        self.assertRegex(self.run_cli("open", "--report", data=self.signed())[0], "^signature=good")
        self.root.revoke("bob")
        self.publish()
        self.assertRegex(self.run_cli("open", "--report", data=self.signed(), status=1)[0], "^signature=revoked")
        self.assertIn("revoked since", self.run_cli("key", "show", self.fingerprint)[0])
        self.assertNotIn("enveloped", self.run_cli("seal", data=LETTER + TEXT, status=3)[0].lower())
        # What was learnt is remembered, also where nobody answers any more: mail is not for that key.
        told = json.loads(self.run_cli("key", "show", self.fingerprint, "--json")[0])
        self.assertTrue(told[0]["revoked"])

    def test_soft(self):
        self.begin("soft")
        told, _ = self.run_cli("open", "--report", data=self.signed())
        self.assertRegex(told, "(?s)^signature=good.*revoked is not known")
        self.assertIn("smime-type=enveloped-data", self.run_cli("seal", data=LETTER + TEXT)[0])

    def test_off(self):
        self.begin("off")
        self.publish()
        self.root.revoke("bob")
        self.run_cli("open", "--report", data=self.signed())
        self.assertNotIn("revoked", self.run_cli("key", "show", self.fingerprint)[0])
        self.assertEqual(self.server.count("/list"), 0)

    def test_as_of_another_time(self):
        """It has been revoked since yesterday, for a reason that says nothing of the time before."""
        self.begin("hard")
        self.root.revoke("bob")
        self.publish()
        shown = self.run_cli("key", "show", self.fingerprint, "--at", "@%d" % (os.stat(
            self.root.certificate).st_mtime + 86400 * 3))[0]
        # Answers are as fresh as they really are, whatever time is asked about.
        self.assertIn("revoked since", shown)


if __name__ == "__main__":
    unittest.main()
