"""What issuers have revoked, through the proxy: what the view says of mail signed by such a certificate, and that
nothing is sealed to one."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
import imap_harness  # noqa: E402
from harness import BOB, PRIVYSEAL, RefServer  # noqa: E402
from slapd import BASE, Slapd, ldif, person  # noqa: E402
from test_ldap import section  # noqa: E402
from test_revocation import Issuer, Server, openssl  # noqa: E402
import test_smime  # noqa: E402
from test_smime import TEXT, signature, signed  # noqa: E402

RULES = 'rule "all" { encrypt = required  sign = never  trust = full  format = { smime } }'


class Authorities:
    """Root issues Middle, Middle issues people; lists of both are served on loopback."""

    def __init__(self, world, low=None):
        self.server = Server()
        world.add(self.server.end)
        folder = os.path.join(world.folder, "i%d" % world.count())
        os.mkdir(folder)
        self.root = Issuer(folder, "Root")
        self.middle = Issuer(folder, "Middle", self.root, [self.place("/high")])
        self.person = self.middle.issue("bob", ["subjectAltName=email:" + BOB, self.place("/low", low)])
        self.publish()

    def place(self, path, url=None):
        return "crlDistributionPoints=URI:" + (url or self.server.url(path))

    def publish(self):
        self.server.page("/high", self.root.list())
        self.server.page("/low", self.middle.list())

    def run(self, *arguments, data=None):
        return openssl(*arguments, data=data)

    def account(self, mode):
        return '    smime_ca = "%s"\n    revocation = %s' % (self.root.certificate, mode)


class Views(imap_harness.Case):
    verdict = test_smime.Signed.verdict

    def show(self, mode, change=None, low=None, options=None):
        """What is said of a message that Bob has signed. `options` makes more of the configuration, of his issuer."""
        issuers = Authorities(self, low)
        if change is not None:
            change(issuers)
        self.begin(account=issuers.account(mode), options='revocation_hosts = "127.0.0.1"\n' +
                   (options(issuers) if options else ""), name="m%d" % self.count())
        self.server.put(signed(BOB, TEXT, signature(issuers, issuers.person, TEXT, "-certfile",
                                                    issuers.middle.certificate)))
        words, view = self.verdict(1)
        self.assertIn(TEXT, view)
        self.asked = [path for _, path, _ in issuers.server.asked]
        return words["signature"]

    @staticmethod
    def leaf(issuers):
        issuers.middle.revoke("bob")
        issuers.publish()

    @staticmethod
    def intermediate(issuers):
        issuers.root.revoke("Middle", "CACompromise")
        issuers.publish()

    @staticmethod
    def dead(issuers):
        issuers.server.pages.clear()

    def test_good(self):
        for mode in ("soft", "hard"):
            with self.subTest(mode=mode):
                self.assertEqual(self.show(mode), "good", self.proxy.log())
                self.assertEqual(sorted(set(self.asked)), ["/high", "/low"])

    def test_revoked(self):
        for change in (self.leaf, self.intermediate):
            for mode in ("soft", "hard"):
                with self.subTest(change=change.__name__, mode=mode):
                    self.assertEqual(self.show(mode, change), "revoked", self.proxy.log())

    def test_nobody_asked(self):
        self.assertEqual(self.show("off", self.leaf), "good")
        self.assertEqual(self.asked, [])

    def test_nobody_answers(self):
        for mode, expected in (("soft", "good"), ("hard", "untrusted")):
            with self.subTest(mode=mode):
                self.assertEqual(self.show(mode, self.dead), expected, self.proxy.log())
                self.assertIn("whether it is revoked could not be learnt", self.proxy.log())

    def test_list_in_a_directory(self):
        """Only the configuration's directories are asked, whatever the certificate names."""
        def directory(issuers):
            server = Slapd(self, [ldif("cn=Middle," + BASE, ["cRLDistributionPoint"], cn="Middle",
                                       certificateRevocationList__binary=issuers.middle.list())])
            return section(server.url(), domains=("nobody.example",))

        entry = "/cn=Middle%2C" + BASE.replace(",", "%2C")
        wanted = "?certificateRevocationList;binary?base?(objectClass=cRLDistributionPoint)"
        for host, rest, change, expected in (
                ("", wanted, None, "good"), ("LOCALHOST", wanted, None, "good"), ("", "", None, "good"),
                ("", wanted, self.leaf, "revoked"), ("other.example", wanted, None, "untrusted"),
                ("127.0.0.1", wanted, None, "untrusted"), ("", "?cn?base", None, "untrusted"),
                ("", "?certificateRevocationList?sub", None, "untrusted")):
            with self.subTest(host=host, rest=rest, expected=expected):
                state = self.show("hard", change, "ldap://" + host + entry + rest, directory)
                self.assertEqual(state, expected, self.proxy.log())


class Sealing(harness.World):
    def begin(self, mode, is_found=False):
        """`is_found`: Bob's certificate is in a directory, which is asked each time, and not imported."""
        issuers = Authorities(self)
        self.upstream = RefServer(self, "s%d" % self.count())
        options = 'revocation_hosts = "127.0.0.1"'
        if is_found:
            der = issuers.run("x509", "-in", issuers.person[0], "-outform", "DER")
            server = Slapd(self, [person("bob", BOB, userCertificate__binary=der)])
            options += "\n" + section(server.url(), domains=(BOB.split("@")[1],), keep_found="0", keep_missing="0")
        self.proxy = harness.Proxy(self, self.upstream, rules=RULES, account=issuers.account(mode), start=False,
                                   options=options)
        for path in (issuers.middle.certificate,) + (() if is_found else (issuers.person[0],)):
            done = subprocess.run([PRIVYSEAL, "key", "import", path, "--config", self.proxy.config],
                                  capture_output=True, check=False, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
        return issuers

    def submit(self):
        """(the reply to RCPT, the reply to the message or None)"""
        with harness.Raw(self.proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            code, _ = client.command("RCPT TO:<%s>" % BOB)
            if code != 250:
                return code, None
            client.command("DATA")
            return code, client.command("From: <%s>\r\nTo: <%s>\r\nSubject: x\r\n\r\ntext\r\n." % (
                harness.ALICE, BOB))[0]

    def test_good(self):
        self.begin("hard")
        self.proxy.start()
        self.assertEqual(self.submit(), (250, 250), self.proxy.log())

    def test_revoked(self):
        """For now at first, since nobody knew it; then as the rule says of a recipient without a key."""
        for name in ("bob", "Middle"):
            with self.subTest(name):
                issuers = self.begin("soft")
                (issuers.middle if name == "bob" else issuers.root).revoke(name)
                issuers.publish()
                self.proxy.start()
                self.assertEqual(self.submit(), (250, 451), self.proxy.log())
                harness.wait_for(lambda: self.submit() == (550, None), "the folder's note")
                self.assertEqual(self.upstream.mail(), [])
                self.proxy.stop()

    def test_revoked_in_a_directory(self):
        """What is known of a certificate stays known when the directory brings it again."""
        issuers = self.begin("soft", is_found=True)
        self.proxy.start()
        self.assertEqual(self.submit(), (250, 250), self.proxy.log())
        self.proxy.stop()
        issuers.middle.revoke("bob")
        issuers.publish()
        # Another process: what the finder and its keepers have heard counts until it runs out.
        self.proxy.start()
        self.assertEqual(self.submit(), (250, 451), self.proxy.log())
        harness.wait_for(lambda: self.submit() == (550, None), "the folder's note")
        self.assertEqual([self.submit() for _ in range(3)], [(550, None)] * 3, self.proxy.log())
        self.assertEqual(len(self.upstream.mail()), 1)

    def test_nobody_answers(self):
        issuers = self.begin("hard")
        issuers.server.pages.clear()
        self.proxy.start()
        self.assertEqual([self.submit(), self.submit()], [(250, 451)] * 2, self.proxy.log())
        self.assertEqual(self.upstream.mail(), [])
        self.proxy.stop()
        self.begin("soft").server.pages.clear()
        self.proxy.start()
        self.assertEqual(self.submit(), (250, 250), self.proxy.log())
        self.assertIn("whether it is revoked could not be learnt", self.proxy.log())


if __name__ == "__main__":
    unittest.main()
