"""Certificates of correspondents: the commands that keep them, and a proxy that hears of each at once."""
import json
import os
import subprocess
import unittest

import harness
from harness import ALICE
from test_smime import Authority

# Of whom there are no OpenPGP keys.
BOB, CAROL = "bobby@example.net", "caroline@example.net"
REQUIRED = 'rule all { encrypt = required trust = full sign = never format = smime }'


class Certificates(harness.World):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder, "root")

    def begin(self, start=False, rules=REQUIRED, with_anchor=True):
        server = harness.RefServer(self)
        self.proxy = harness.Proxy(self, server, rules=rules, start=start, account=(
            '    smime_ca = "%s"' % self.authority.certificate if with_anchor else ""))
        return self.proxy

    def run_cli(self, *arguments, data=None, status=0):
        done = subprocess.run([harness.PRIVYSEAL, *arguments, "--config", self.proxy.config], input=data,
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def ask(self, *arguments, **options):
        return json.loads(self.run_cli(*arguments, "--json", **options).stdout)

    def certificates(self):
        return [key for key in self.ask("key", "list") if key["format"] == "smime"]

    def below(self, name="middle"):
        """An authority that the first one vouches for."""
        lower = Authority(self.folder, name)
        request = os.path.join(self.folder, name + ".csr")
        extensions = os.path.join(self.folder, name + ".ext")
        with open(extensions, "w", encoding="ascii") as file:
            file.write("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
        lower.run("req", "-new", "-key", lower.key, "-subj", "/CN=" + name, "-out", request)
        lower.run("x509", "-req", "-in", request, "-CA", self.authority.certificate, "-CAkey", self.authority.key,
                  "-CAcreateserial", "-days", "25", "-extfile", extensions, "-out", lower.certificate)
        return lower

    def rcpt(self, address):
        with self.proxy.client() as client:
            client.mail(ALICE)
            code, text = client.rcpt(address)
            client.rset()
        return code, text

    def test_imported_before_rcpt_counts_for_it(self):
        lower = self.below()
        bob, _ = lower.issue(BOB, "bob")
        self.begin(start=True)
        code, text = self.rcpt(BOB)
        self.assertEqual(code, 550, text)
        self.run_cli("key", "import", bob)
        code, text = self.rcpt(BOB)
        self.assertEqual(code, 550, text)
        self.assertIn(b"smime_ca", text)
        self.run_cli("key", "import", lower.certificate)
        self.assertEqual(self.rcpt(BOB)[0], 250)
        key, = [key for key in self.certificates() if key["address"] == BOB]
        self.run_cli("key", "delete", "--yes", key["fingerprint"])
        self.assertEqual(self.rcpt(BOB)[0], 550)

    def test_files_of_every_kind_are_taken(self):
        bob, _ = self.authority.issue(BOB, "bob")
        carol, _ = self.authority.issue(CAROL, "carol")
        self.begin()
        with open(bob, "rb") as one, open(carol, "rb") as other:
            both = b"some words first\n" + one.read() + other.read()
        der = self.authority.run("x509", "-in", bob, "-outform", "DER")
        bundle = self.authority.run("crl2pkcs7", "-nocrl", "-certfile", bob, "-certfile", carol, "-outform", "DER")
        pem = self.authority.run("crl2pkcs7", "-nocrl", "-certfile", bob, "-certfile", carol)
        for data, count in ((both, 2), (der, 1), (bundle, 2), (pem, 2)):
            told = self.ask("key", "import", data=data)
            self.assertEqual((told["considered"], told["imported"], told["rejected"]), (count, count, 0))
            found = self.certificates()
            self.assertEqual(sorted(key["address"] for key in found), sorted([BOB, CAROL][:count]))
            self.assertEqual({key["trust"] for key in found}, {"full"})
            self.assertEqual(self.ask("key", "import", data=data)["unchanged"], count)
            for key in found:
                self.run_cli("key", "delete", "--yes", key["fingerprint"])
        self.assertEqual(self.certificates(), [])
        for bad in (b"AAAA\n", b"A=A\n", b"?\n"):
            broken = both.replace(b"-----END CERTIFICATE-----", bad + b"-----END CERTIFICATE-----", 1)
            told = self.ask("key", "import", data=broken, status=1)
            self.assertEqual((told["imported"], told["rejected"]), (1, 1))
            self.run_cli("key", "delete", "--yes", told["keys"][0]["fingerprint"])
        self.run_cli("key", "import", data=b"\x30\x03\x02\x01\x01", status=1)
        self.run_cli("key", "import", data=b"nothing of the kind", status=1)

    def test_shown_exported_and_explained(self):
        bob, _ = self.authority.issue(BOB, "bob")
        stranger = Authority(self.folder, "elsewhere")
        carol, _ = stranger.issue(CAROL, "carol")
        self.begin()
        self.run_cli("key", "import", bob, carol, self.authority.certificate)
        shown = self.run_cli("key", "show", BOB).stdout.decode()
        for words in ("subject", "CN=bob", "issuer", "CN=root", "serial", "rsa2048", "signs", "encrypts", "imported",
                      BOB + " (trust full by the word of its issuer)", "chain"):
            self.assertIn(words, shown)
        told, = self.ask("key", "show", BOB)
        self.assertEqual((told["issuer"], told["chain"], told["chain_detail"]), ("CN=root", "good", "CN=root"))
        told, = self.ask("key", "show", CAROL)
        self.assertEqual(told["chain"], "untrusted")
        self.assertIn("issuer", told["chain_detail"])
        # An issuer can be seen, but nobody's mail is sealed to it.
        root, = [key for key in self.certificates() if key["user_id"] == "CN=root"]
        self.assertEqual((root["address"], root["encrypt_until"], root["sign_until"]), ("", -1, -1))
        exported = self.run_cli("key", "export", BOB).stdout
        with open(bob, "rb") as file:
            self.assertEqual(exported.split(), file.read().split())
        self.run_cli("key", "export", "--secret", BOB, status=1)
        why = self.ask("why", BOB)
        self.assertEqual((why["result"], why["action"], why["key"]["chain"]), ("ok", "encrypt", "good"))
        refused = self.run_cli("why", CAROL, status=1).stdout.decode()
        for words in ("smime_ca", "imported", "leads to no trust anchor"):
            self.assertIn(words, refused)

    def test_check_speaks_of_own_certificates(self):
        mine, _ = self.authority.issue(ALICE, "alice")
        self.begin(with_anchor=False, rules="")
        fingerprint = self.ask("key", "import", mine)["keys"][0]["fingerprint"]
        path = os.path.join(self.proxy.state, "keys", ALICE, "certificates", fingerprint + ".pem")
        with open(path, encoding="ascii") as file:
            text = file.read()
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write("Key: store\n" + text)
        os.rename(path + ".new", path)
        self.assertEqual([key["trust"] for key in self.certificates()], ["own"])
        done = subprocess.run([harness.PRIVYSEAL, "check", "--config", self.proxy.config], capture_output=True,
                              check=False, timeout=60)
        # It lasts for 20 days.
        self.assertRegex(done.stdout, b"own certificate " + fingerprint.encode() + b" expires")
        self.assertRegex(done.stdout, b"no trust anchors")


if __name__ == "__main__":
    unittest.main()
