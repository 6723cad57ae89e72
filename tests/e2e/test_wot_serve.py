"""The web of trust while privyseal serves: what a person certifies, trusts and withdraws counts for the next RCPT."""
import json
import os
import subprocess
import time
import unittest

import harness
from harness import ALICE, BOB, CAROL, Gpg, Proxy, Raw, RefServer, World, wait_for

RULES = 'rule "all" { encrypt = required  sign = never  trust = full }'


class Served(World):
    def setUp(self):
        super().setUp()
        # Carol's key is certified by Bob.
        signer = Gpg(os.path.join(self.folder, "signer"))
        self.add(signer.close)
        signer.take(harness.keys().export_secret(BOB), own=True)
        signer.take(harness.keys().export(CAROL))
        signer.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-sign-key", signer.fingerprint(CAROL))
        self.certified = signer.export(CAROL)
        self.proxy = Proxy(self, RefServer(self, tls="none"), rules=RULES)

    def command(self, *words):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], capture_output=True,
                              check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.decode()

    def told(self, *addresses):
        """What each RCPT is answered."""
        with Raw(self.proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % ALICE)
            return [client.command("RCPT TO:<%s>" % address)[0] for address in addresses]

    def path(self, address):
        return [(step["signer"], step["key"]) for step in json.loads(self.command("why", "--json", address))["key"][
            "path"]]

    def withdraw(self):
        # Of what is signed within one second gpg takes the first.
        certified = int(time.time())
        wait_for(lambda: int(time.time()) > certified, "the next second")
        self.command("key", "certify", "--revoke", "--yes", BOB)

    def test_each_step_counts_at_once(self):
        alice = self.alice()
        mine, his, hers = (alice.fingerprint(address) for address in (ALICE, BOB, CAROL))
        file = os.path.join(self.folder, "carol.pgp")
        with open(file, "wb") as out:
            out.write(self.certified)
        self.command("key", "import", "--keep-signatures", file)
        self.assertEqual(self.told(BOB, CAROL), [550, 550])
        self.command("key", "certify", "--yes", BOB)
        self.assertEqual(self.told(BOB, CAROL), [250, 550])
        self.command("key", "trust", BOB, "full")
        self.assertEqual(self.told(BOB, CAROL), [250, 250])
        self.assertEqual(self.path(CAROL), [(mine, his), (his, hers)])
        self.command("key", "trust", BOB, "never")
        self.assertEqual(self.told(BOB, CAROL), [250, 550])
        self.command("key", "trust", BOB, "full")
        self.assertEqual(self.told(BOB, CAROL), [250, 250])
        self.withdraw()
        self.assertEqual(self.told(BOB, CAROL), [550, 550])
        # A pin needs no path, and gives none to others.
        self.command("key", "pin", "--yes", BOB, his)
        self.assertEqual(self.told(BOB, CAROL), [250, 550])
        self.command("key", "pin", "--remove", BOB)
        self.assertEqual(self.told(BOB, CAROL), [550, 550])


if __name__ == "__main__":
    unittest.main()
