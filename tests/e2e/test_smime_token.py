"""Alice's private key is on a token, here SoftHSM's, and nowhere else: what it signs and decrypts through the proxy."""
import os
import subprocess
import unittest
import unittest.mock

import corpus
from harness import ALICE, BOB, wait_for
from imap_harness import whole
from test_imap_first import VERDICT
from test_imap_locked import set_agent
import test_smime_alone

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "123456"
PINENTRY = """#!/bin/sh
echo OK
while read -r word rest; do case $word in
GETPIN) echo asked >>%(folder)s/asked
    if [ "$(cat %(folder)s/does)" = cancel ]; then echo "ERR 83886179 Operation cancelled <Pinentry>"
    else echo "D %(pin)s"; echo OK; fi;;
BYE) echo OK; exit;;
*) echo OK;;
esac; done
"""


class Case(test_smime_alone.Case):
    def setUp(self):
        super().setUp()
        folder = os.path.join(self.folder, "hsm")
        os.makedirs(os.path.join(folder, "tokens"))
        with open(os.path.join(folder, "softhsm2.conf"), "w", encoding="ascii") as file:
            file.write("directories.tokendir = %s/tokens\n" % folder)
        patch = unittest.mock.patch.dict(os.environ, {"SOFTHSM2_CONF": folder + "/softhsm2.conf"})
        patch.start()
        self.addCleanup(patch.stop)
        self.account = '    pkcs11_module = "%s"\n    pkcs11_dir = "%s"\n' % (SOFTHSM, folder)
        self.does("open")

    def tool(self, *words):
        subprocess.run(words, check=True, capture_output=True)

    def fill(self, mine):
        """The key, and the certificate that belongs to it."""
        der = os.path.join(self.folder, "mine.der")
        self.authority.run("x509", "-in", mine.certificate, "-outform", "DER", "-out", der)
        self.tool("softhsm2-util", "--init-token", "--free", "--label", "tests", "--so-pin", "0000", "--pin", PIN)
        self.write(der, "cert")
        self.put_key(mine)

    def put_key(self, mine):
        self.tool("softhsm2-util", "--import", mine.key, "--token", "tests", "--label", "a", "--id", "01", "--pin", PIN)

    def write(self, path, kind, *usage):
        self.tool("pkcs11-tool", "--module", SOFTHSM, "--token-label", "tests", "--login", "--pin", PIN,
                  "--write-object", path, "--type", kind, "--id", "01", "--label", "a", *usage)

    def import_mine(self):
        path = os.path.join(self.folder, "pinentry")
        with open(path, "w", encoding="ascii") as file:
            file.write(PINENTRY % {"folder": self.folder, "pin": PIN})
        os.chmod(path, 0o700)
        set_agent(self.alice(), "pinentry-program " + path)
        self.fill(self.mine)
        self.run_command("key", "import", "--token", "pkcs11:token=tests;id=%01")

    def told(self):
        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual(client.rcpt(BOB)[0], 250)
            return client.data(corpus.text())

    def check_both(self, *key):
        """What is read, what is saved and what is sent."""
        self.begin(key=key, account=self.account)
        self.imap_server.put(self.from_bob("first"))
        with self.proxy.imap() as client:
            client.select(readonly=True)
            wait_for(lambda: client.fetch("1", "(RFC822.SIZE)")[0] == "OK", "the key")
            view = whole(client, 1)
            self.assertIn(corpus.CANARY, view)
            for word in (b"signature=good", b"encryption=smime"):
                self.assertIn(word, VERDICT.search(view).group(0))
            self.assertEqual(client.append("INBOX", None, None, corpus.text())[0], "OK")
            client.noop()
            self.assertEqual(whole(client, 2), corpus.text())
        self.assertEqual(self.told()[0], 250)
        self.check_sealed(corpus.text(), self.server.mail()[0][1], self.people[BOB])
        self.assertEqual(self.asked(), ["asked"])
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.assertNotIn(PIN, self.proxy.log())


class Rsa(Case):
    def test_signs_and_decrypts(self):
        self.check_both("rsa:2048")

    def test_modern_rsa(self):
        """PSS and OAEP, by the token."""
        self.begin(key=("rsa:2048",), account=self.account + "    smime_rsa = modern\n    smime_sign = opaque\n")
        self.assertEqual(self.told()[0], 250)
        self.check_sealed(corpus.text(), self.server.mail()[0][1], self.people[BOB])
        with self.proxy.imap() as client:
            self.assertEqual(client.append("INBOX", None, None, corpus.text())[0], "OK")
            client.select(readonly=True)
            self.assertEqual(whole(client, 1), corpus.text())

    def test_declined(self):
        """Without the PIN nothing is sent; who sends is asked."""
        self.begin(key=("rsa:2048",), account=self.account)
        self.does("cancel")
        code, text = self.told()
        self.assertEqual((code, text[:5]), (451, b"4.7.0"))
        self.assertEqual(self.asked(), ["asked"])
        self.assertEqual(self.server.mail(), [])
        self.assertNotIn(corpus.CANARY, self.server.wire())


class Curve(Case):
    def put_key(self, mine):
        """softhsm2-util imports curve keys that may only sign."""
        path = os.path.join(self.folder, "mine.key.der")
        self.authority.run("ec", "-in", mine.key, "-outform", "DER", "-out", path)
        self.write(path, "privkey", "--usage-sign", "--usage-derive")

    def test_p256(self):
        """ECDSA and ECDH, by the token."""
        self.check_both("ec", "-pkeyopt", "ec_paramgen_curve:P-256")

    def test_p384(self):
        self.check_both("ec", "-pkeyopt", "ec_paramgen_curve:P-384")


if __name__ == "__main__":
    unittest.main()
