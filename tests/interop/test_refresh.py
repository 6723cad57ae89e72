#!/usr/bin/python3
"""What has become of certificates: `key refresh` asks a real slapd and the issuer's list for each, and tells it; and so
does the proxy in the background."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from harness import ALICE, Raw, RefServer, wait_for  # noqa: E402
from smime_people import revocation_list  # noqa: E402
from slapd import person  # noqa: E402
import test_ldap  # noqa: E402
from test_ldap import DONE, ERIN, FAILED, FRANK, section  # noqa: E402
from test_revocation import Server  # noqa: E402

RULES = 'rule "all" { encrypt = required  sign = never  trust = full  format = smime }'
DAY = 86400


class Holder:
    """Of a certificate that names the list."""

    def __init__(self, case, address, name):
        self.certificate, _ = case.authority.issue(
            address, name, key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), extensions=(
                "extendedKeyUsage=emailProtection", "crlDistributionPoints=URI:" + case.lists.url("/list")))
        self.der = case.authority.run("x509", "-in", self.certificate, "-outform", "DER")
        told = case.authority.run("x509", "-in", self.certificate, "-noout", "-serial", "-fingerprint", "-sha256")
        serial, fingerprint = (line.split("=")[1] for line in told.decode().splitlines())
        self.serial, self.fingerprint = bytes.fromhex(serial), fingerprint.replace(":", "")


class Case(test_ldap.Case):
    def setUp(self):
        super().setUp()
        self.lists = Server()
        self.addCleanup(self.lists.end)
        self.erin, self.frank = Holder(self, ERIN, "erin"), Holder(self, FRANK, "frank")
        self.publish()

    def publish(self, *revoked):
        self.lists.page("/list", revocation_list(self.authority, *revoked))

    def proxy(self, sections, **options):
        options.setdefault("rules", RULES)
        return super().proxy('revocation_hosts = "127.0.0.1"\n' + sections,
                             account="    revocation = %s\n" % options.pop("revocation", "soft"), **options)


class Command(Case):
    def refresh(self, proxy, *words, status=DONE):
        done, said, errors = self.run_cli(proxy, "key", "refresh", *words)
        self.assertEqual(done, status, errors)
        return {each["fingerprint"]: each["state"] for each in said}, said

    def test_directory(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.erin.der)])
        proxy = self.proxy(section(server.url(), ca_file=self.certificate()[0]))
        self.find(proxy, ERIN, "--import")
        states, said = self.refresh(proxy, ERIN)
        self.assertEqual((states, said[0]["format"], said[0]["others"]), ({self.erin.fingerprint: "unchanged"}, "smime",
                                                                           []))
        states, _ = self.refresh(proxy, "--all", "--at", "@%d" % (time.time() + 30 * DAY))
        self.assertEqual(states[self.erin.fingerprint], "expired")
        server.stop()
        states, said = self.refresh(proxy, ERIN, status=FAILED)
        self.assertEqual(states, {self.erin.fingerprint: "failed"})
        self.assertIn("corp", said[0]["detail"])
        # Another in its place.
        fresh = Holder(self, ERIN, "fresh")
        server = self.slapd([person("erin", ERIN, userCertificate__binary=fresh.der)], port=server.port)
        states, said = self.refresh(proxy, ERIN)
        self.assertEqual((states, said[0]["others"]), ({self.erin.fingerprint: "gone"}, [fresh.fingerprint]))
        self.assertIn("there is another key: " + fresh.fingerprint, said[0]["detail"])
        # One beside it, and one that a person put here and no directory takes away.
        other = Holder(self, ERIN, "other")
        self.run_cli(proxy, "key", "import", self.frank.certificate)
        server.stop()
        self.slapd([person("erin", ERIN, userCertificate__binary=[fresh.der, other.der])], port=server.port)
        states, said = self.refresh(proxy, fresh.fingerprint, FRANK)
        self.assertEqual(states, {fresh.fingerprint: "unchanged", self.frank.fingerprint: "unchanged"})
        self.assertEqual([each["others"] for each in said], [[other.fingerprint], []])

    def test_issuer(self):
        server = self.slapd([])
        proxy = self.proxy(section(server.url(), ca_file=self.certificate()[0]))
        self.run_cli(proxy, "key", "import", self.frank.certificate)
        frank = self.frank.fingerprint
        self.assertEqual(self.refresh(proxy, FRANK)[0], {frank: "unchanged"})
        self.lists.page("/list", lambda _body: (500, {}, b""))
        states, said = self.refresh(proxy, FRANK, status=FAILED)
        self.assertEqual(states, {frank: "failed"})
        self.assertIn("not known whether it has been revoked", said[0]["detail"])
        self.publish(self.erin)
        self.assertEqual(self.refresh(proxy, FRANK)[0], {frank: "unchanged"})
        self.publish(self.frank)
        self.assertEqual(self.refresh(proxy, "--all")[0][frank], "revoked")
        self.assertEqual(self.run_cli(proxy, "why", FRANK)[1]["action"], "refuse")
        # It stays so, whatever the issuer says next.
        self.publish()
        self.assertEqual(self.refresh(proxy, FRANK)[0], {frank: "unchanged"})
        self.assertTrue(self.run_cli(proxy, "key", "show", frank)[1][0]["revoked"])

    def test_nobody_is_asked(self):
        proxy = self.proxy(section(self.slapd([]).url(), ca_file=self.certificate()[0]), revocation="off")
        self.run_cli(proxy, "key", "import", self.frank.certificate)
        self.publish(self.frank)
        self.assertEqual(self.refresh(proxy, FRANK)[0], {self.frank.fingerprint: "unchanged"})
        self.assertEqual(self.lists.count("/list"), 0)


class Background(Case):
    def begin(self, sections, **options):
        self.server = RefServer(self, tls="none")
        return self.proxy('refresh = "2 seconds"\n' + sections, server=self.server, start=True, **options)

    def told(self, proxy, address):
        """What RCPT is answered."""
        with Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % ALICE)
            return client.command("RCPT TO:<%s>" % address)[0]

    def send(self, proxy, address):
        proxy.send(b"From: %s\r\nTo: %s\r\n\r\nsecret words\r\n" % (ALICE.encode(), address.encode()), [address])
        self.assertNotIn(b"secret words", self.server.wire())

    def test_revoked(self):
        """The list that was fetched to seal counts for a day yet, and is asked for anew without further mail."""
        proxy = self.begin("")
        self.run_cli(proxy, "key", "import", self.frank.certificate)
        self.send(proxy, FRANK)
        count = self.lists.count("/list")
        wait_for(lambda: self.lists.count("/list") > count, "a second look")
        self.assertEqual(self.told(proxy, FRANK), 250)
        self.publish(self.frank)
        wait_for(lambda: self.told(proxy, FRANK) == 550, "the end of the certificate")

    def test_gone_from_its_directory(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.erin.der)])
        proxy = self.begin(section(server.url(), ca_file=self.certificate()[0], keep_failed="0"))
        self.send(proxy, ERIN)
        server.stop()
        self.slapd([], port=server.port)
        wait_for(lambda: "it no longer has" in proxy.log(), "news of the directory")
        self.assertEqual(self.told(proxy, ERIN), 550)


if __name__ == "__main__":
    unittest.main()
