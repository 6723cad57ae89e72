"""OpenPGP keys that only a directory has: trusted by its word, while that counts, and for its domains alone."""
import os
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
from harness import DAVE, Raw, RefServer  # noqa: E402
from slapd import person  # noqa: E402
from test_ldap import DONE, Case, section  # noqa: E402

RULES = 'rule "all" { encrypt = required  sign = never  format = { openpgp, smime } }'
MESSAGE = "From: <%s>\r\nTo: <%s>\r\nMessage-ID: <one@example.org>\r\nSubject: x\r\n\r\nfor Dave alone\r\n" % (
    harness.ALICE, DAVE)
DOMAINS = ("example.edu",)


class OpenPgp(Case):
    def serve(self, server, scheme="ldaps", domains=DOMAINS, **options):
        self.upstream = RefServer(self, "s%d" % self.count())
        ca_file = None if scheme == "ldap+clear" else self.certificate()[0]
        return self.proxy(section(server.url(scheme), domains=domains, ca_file=ca_file, **options), start=True,
                          server=self.upstream, rules=RULES)

    def dave(self):
        return person("dave", DAVE, pgpKey=harness.keys().export(DAVE))

    def rcpt(self, proxy):
        with Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            return client.command("RCPT TO:<%s>" % DAVE)[0]

    def trust(self, proxy):
        """What `key list` says of Dave's key: trust and source."""
        _, keys, words = self.run_cli(proxy, "key", "list", DAVE)
        found = [key["trust"] for key in keys if key.get("trust")]
        self.assertEqual(len(found), 1, (keys, words))
        return found[0]

    def test_encrypted(self):
        """Nobody imports anything: the first message goes out encrypted. The command line, through the vault or alone,
        gives the proxy's answer; the record of the correspondent knows that mail was sent."""
        server = self.slapd([self.dave()])
        proxy = self.serve(server)
        proxy.send(MESSAGE, [DAVE])
        (_, sealed), = self.upstream.mail()
        self.assertNotIn(b"for Dave alone", self.upstream.wire())
        self.assertIn(b"for Dave alone", harness.keys().decrypt(sealed)[0])
        self.assertTrue(harness.keys().key_ids_of(sealed) & harness.keys().encryption_key_ids(DAVE))
        # What is known counts when nobody answers any more.
        server.stop()
        proxy.send(MESSAGE, [DAVE])
        self.assertEqual(self.trust(proxy), "found")
        proxy.stop()
        self.assertEqual(self.trust(proxy), "found")
        with sqlite3.connect(os.path.join(proxy.state, "store", "durable.sqlite")) as database:
            self.assertEqual(database.execute("SELECT rank FROM peer").fetchall(), [(1,)])
        database.close()
        proxy.start()
        self.assertEqual(self.rcpt(proxy), 250, proxy.log())

    def test_not_believed(self):
        """A line that anybody may have written to gives a key, and no reason to trust it; so does a directory that is
        for no domain in particular."""
        server = self.slapd([self.dave()])
        for options in ({"scheme": "ldap+clear"}, {"domains": None}):
            with self.subTest(options=options):
                proxy = self.serve(server, **options)
                self.assertEqual(self.rcpt(proxy), 550, proxy.log())
                self.assertEqual(self.trust(proxy), "unverified")
                self.assertEqual(self.upstream.mail(), [])
                proxy.stop()

    def test_taken_back(self):
        """Asked for again in time, still used if nobody answers; then the directory no longer has it, then again."""
        server = self.slapd([self.dave()])
        proxy = self.serve(server, scheme="ldap", keep_found="0", keep_missing="0", keep_failed="0")
        self.assertEqual(self.rcpt(proxy), 250, proxy.log())
        server.stop()
        self.assertEqual(self.rcpt(proxy), 250, proxy.log())
        self.assertIn("not every source could be asked for " + DAVE, proxy.log())
        empty = self.slapd([], port=server.port)
        self.assertEqual(self.rcpt(proxy), 550, proxy.log())
        self.assertEqual(self.trust(proxy), "unverified")
        empty.stop()
        self.slapd([self.dave()], port=server.port)
        self.assertEqual(self.rcpt(proxy), 250, proxy.log())

    def test_vault_dies(self):
        """The word is kept by the next vault, or nothing is sent."""
        proxy = self.serve(self.slapd([self.dave()]))
        os.kill(proxy.workers()[0], 9)
        harness.wait_for(lambda: self.rcpt(proxy) == 250, "the next vault")
        os.kill(proxy.workers()[0], 9)
        harness.wait_for(lambda: self.rcpt(proxy) == 250, "the vault after that")

    def test_import(self):
        """What `key find --import` keeps is trusted as what the proxy keeps."""
        proxy = self.proxy(section(self.slapd([self.dave()]).url("ldaps"), domains=DOMAINS,
                                   ca_file=self.certificate()[0]), rules=RULES)
        _, found, _ = self.find(proxy, DAVE)
        self.assertEqual([line["trust"] for line in found], ["found"])
        status, _, words = self.find(proxy, DAVE, "--import")
        self.assertEqual(status, DONE, words)
        self.assertEqual(self.trust(proxy), "found")


if __name__ == "__main__":
    unittest.main()
