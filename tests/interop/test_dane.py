"""Keys out of the DNS: a real nsd with signed, unsigned and wrongly signed zones, asked by `key find`, `check` and
`why`, and at RCPT by the proxy."""
import concurrent.futures
import hashlib
import json
import os
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
from harness import PRIVYSEAL, Proxy, Raw, RefServer, World  # noqa: E402
from nsd import Nsd, Zone, openpgpkey, owner, smimea  # noqa: E402
from test_smime import Authority  # noqa: E402

DONE, REFUSED, USAGE, FAILED = 0, 1, 2, 3
CAROL, DAVE = harness.CAROL, harness.DAVE
ERIN, FRANK = "erin@example.net", "frank@example.net"
RULES = ('rule "net" { to = { "*@example.net", "*@bogus.example", "*@plain.example" }  encrypt = required\n'
         '    sign = never  format = { smime } }\n'
         'rule "all" { encrypt = when-possible  sign = never  format = { smime, openpgp } }')


class Case(World):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder, "ca")

    def der(self, address, name="person", **options):
        certificate, _ = self.authority.issue(address, name, key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                                              **options)
        return self.authority.run("x509", "-in", certificate, "-outform", "DER")

    def key(self, address):
        return harness.keys().run("--export", "--export-options", "export-minimal", address).stdout

    def section(self, server, anchor=None, **options):
        options = {"anchor": anchor or server.anchor, "servers": server.server(), "timeout": "5", **options}
        return 'sources = { "dane" }\ndane {\n%s\n}\n' % "\n".join(
            "    %s = %s" % (key, value if value.startswith("{") else '"%s"' % value)
            for key, value in options.items())

    def proxy(self, sections, start=False, server=None, account="", **options):
        if account == "":
            account = '    smime_ca = "%s"\n' % Authority(self.folder, "other%d" % self.count()).certificate
        return Proxy(self, server, options=sections, account=account, start=start, **options)

    def run_cli(self, proxy, *arguments):
        done = subprocess.run([PRIVYSEAL, *arguments, "--config", proxy.config, "--json"], capture_output=True,
                              check=False, timeout=120)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.decode()

    def lines(self, proxy, address):
        """Exit status, and (state, kind, trust, reason) of each line of `key find`."""
        status, found, words = self.run_cli(proxy, "key", "find", address)
        self.assertIsNotNone(found, words)
        return status, [(line["state"], line["kind"], line["trust"], line["reason"]) for line in found]


class Find(Case):
    def test_zones(self):
        """One DNS with everything in it."""
        plain, bogus, expired = "gail@plain.example", "gail@bogus.example", "gail@old.example"
        crowd = "crowd@example.net"
        digest = hashlib.sha256(b"x").digest()
        mine, hers = self.der(ERIN), self.der(FRANK, "frank")
        spoilt = self.der(bogus, "bogus")
        net = [
            smimea(ERIN, mine),
            smimea("wrong@example.net", hers),
            smimea("chain@example.net", self.der("chain@example.net", "chain"), usage=1),
            smimea("digest@example.net", digest, usage=3, selector=1, matching=1),
            smimea("garbage@example.net", b"0garbage"),
            openpgpkey("garbage@example.net", b"garbage"),
            openpgpkey("wrong@example.net", self.key(CAROL)),
            "%s IN CNAME %s" % (owner("other@example.net", "_smimecert"), owner("gone@example.net", "_smimecert")),
            *[smimea(crowd, b"0%d" % number) for number in range(20)]]
        zones = [Zone("example.net", net),
                 Zone("plain.example", [smimea(plain, self.der(plain, "plain"))], signs=None),
                 Zone("bogus.example", [smimea(bogus, spoilt)],
                      spoil=lambda text: text.replace(spoilt.hex()[-8:], "00000000")),
                 Zone("old.example", [smimea(expired, self.der(expired, "old"))], signs="expired"),
                 Zone("example.com", [openpgpkey(CAROL, self.key(CAROL))], options=["-n"])]
        server = Nsd(self, zones)
        proxy = self.proxy(self.section(server), rules=RULES)
        absent = ["nobody@example.net", "nobody@example.com", "nobody@nowhere.example.net", "other@example.net"]
        unsigned, refused = [plain, "nobody@plain.example"], {bogus: "signature", expired: "expired"}
        unusable = {"digest@example.net": "only name a certificate", crowd: "more than 16",
                    "garbage@example.net": "2 of its records are no certificate and no key"}
        wrong, chain = "wrong@example.net", "chain@example.net"
        addresses = [ERIN, CAROL, wrong, chain, *absent, *unsigned, *refused, *unusable]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            told = dict(zip(addresses, pool.map(lambda address: self.lines(proxy, address), addresses)))
        status, lines = told[ERIN]
        self.assertEqual((status, [line[:3] for line in lines]), (DONE, [("found", "S/MIME", "found")]), server.log())
        status, lines = told[CAROL]
        self.assertEqual((status, [line[:2] for line in lines]), (DONE, [("found", "OpenPGP")]))
        # Proven not to be there: NSEC, and NSEC3.
        for address in absent:
            status, lines = told[address]
            self.assertEqual((status, [(line[0], line[3]) for line in lines]),
                             (REFUSED, [("nothing", "it knows no key for the address")]), address)
        # What nobody signed says nothing; what is signed wrongly cannot be asked.
        for address in unsigned:
            status, lines = told[address]
            self.assertEqual((status, lines[0][0]), (REFUSED, "nothing"), address)
            self.assertIn("plain.example is not signed", lines[0][3])
        for address, why in refused.items():
            status, lines = told[address]
            self.assertEqual((status, len(lines), lines[0][0]), (FAILED, 1, "failed"), address)
            self.assertIn("signatures of %s are wrong" % address.split("@")[1], lines[0][3])
            self.assertIn(why, lines[0][3])
        # Signed, and still not the address's.
        status, lines = told[wrong]
        self.assertEqual((status, sorted(line[3] for line in lines)), (REFUSED, ["it does not carry the address"] * 2))
        status, lines = told[chain]
        self.assertEqual((status, [line[:3] for line in lines]), (DONE, [("found", "S/MIME", "unverified")]))
        for address, why in unusable.items():
            status, lines = told[address]
            self.assertEqual((status, [line[0] for line in lines]), (REFUSED, ["nothing"]), address)
            self.assertIn(why, lines[0][3])
        # Words of `check` and `why`.
        _, checked, words = self.run_cli(proxy, "check")
        self.assertIn(("dane", "ok"), [(line["subject"], line["state"]) for line in checked], words)
        _, answer, _ = self.run_cli(proxy, "why", FRANK)
        self.assertEqual(answer["sources"], ["dane"])

    def test_anchors(self):
        """Another anchor makes all of it wrong, and one that cannot be read is no anchor."""
        server = Nsd(self, [Zone("example.net", [smimea(ERIN, self.der(ERIN))])])
        wrong = Nsd(self, [])
        for anchor, why in ((wrong.anchor, "signatures"), (os.devnull, "")):
            proxy = self.proxy(self.section(server, anchor))
            status, lines = self.lines(proxy, ERIN)
            self.assertNotIn("found", [line[0] for line in lines])
            self.assertNotEqual(status, DONE)
            self.assertIn(why, lines[0][3])
            _, checked, _ = self.run_cli(proxy, "check")
            self.assertIn(("dane", "bad"), [(line["subject"], line["state"]) for line in checked])
        proxy = self.proxy(self.section(server, os.path.join(self.folder, "none")))
        status, _, words = self.run_cli(proxy, "key", "find", ERIN)
        self.assertEqual(status, USAGE)
        self.assertIn("expected DS or DNSKEY records", words)

    def test_dead(self):
        server = Nsd(self, [Zone("example.net", [smimea(ERIN, self.der(ERIN))])])
        text = self.section(server, timeout="1")
        server.stop()
        status, lines = self.lines(self.proxy(text), ERIN)
        self.assertEqual((status, [line[0] for line in lines]), (FAILED, ["failed"]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            text = text.replace(server.server(), "127.0.0.1@%d" % silent.getsockname()[1])
            status, lines = self.lines(self.proxy(text), ERIN)
            self.assertEqual((status, lines[0][3]), (FAILED, "no answer about example.net in 1 seconds"))
            # Nobody hears of an address that is not for them.
            silent.setblocking(False)
            while True:
                try:
                    silent.recv(4096)
                except BlockingIOError:
                    break
            _, lines = self.lines(self.proxy(text.replace("timeout", 'domains = "example.com"\n    timeout')), ERIN)
            self.assertEqual(lines[0][0], "not asked")
            self.assertRaises(BlockingIOError, silent.recv, 4096)


class Huge(Case):
    def test_huge(self):
        """As much as a name server can send, over TCP: what is looked at is bounded, and the next question is
        answered."""
        crowd, large = "crowd@example.net", "large@example.net"
        key, mine = self.key(DAVE), self.der(ERIN)
        net = [openpgpkey(crowd, b"\x98" + os.urandom(2) * 600 + number.to_bytes(2, "big")) for number in range(40)]
        net += [openpgpkey(large, b"\x98" + bytes(30000)), smimea(large, b"0" * 30000), smimea(ERIN, mine)]
        server = Nsd(self, [Zone("example.net", net), Zone("example.edu", [openpgpkey(DAVE, key)])])
        upstream = RefServer(self, "s")
        proxy = self.proxy(self.section(server), start=True, server=upstream, rules=RULES)
        # Of forty sixteen are looked at; none is a key.
        status, lines = self.lines(proxy, crowd)
        self.assertEqual((status, [line[0] for line in lines]), (REFUSED, ["ignored"] * 16), server.log())
        status, lines = self.lines(proxy, large)
        self.assertEqual((status, {line[0] for line in lines}), (REFUSED, {"ignored"}), server.log())
        with Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            codes = [client.command("RCPT TO:<%s>" % address)[0] for address in (crowd, large, ERIN, DAVE)]
        self.assertEqual(codes, [550, 550, 250, 250], proxy.log())


class Printed(Case):
    """One's own records, as they are printed, read by a name server and found again."""

    def printed(self, kind, address, data):
        tool = os.path.join(os.path.dirname(PRIVYSEAL), "tests", "dane_print")
        done = subprocess.run([tool, kind, address], input=data, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0)
        return done.stdout.decode().splitlines()

    def test_printed(self):
        der, key = self.der(ERIN), self.key(DAVE)
        records = self.printed("smimea", ERIN, der) + self.printed("openpgpkey", DAVE, key)
        self.assertEqual([line.split()[0] for line in records],
                         [owner(ERIN, "_smimecert")] * 2 + [owner(DAVE)] * 2)
        # Both forms are one record.
        for parts in (slice(0, None, 2), slice(1, None, 2), slice(0, None)):
            server = Nsd(self, [Zone("example.net", records[:2][parts]), Zone("example.edu", records[2:][parts])])
            proxy = self.proxy(self.section(server))
            for address, kind in ((ERIN, "S/MIME"), (DAVE, "OpenPGP")):
                status, lines = self.lines(proxy, address)
                self.assertEqual((status, [line[:2] for line in lines]), (DONE, [("found", kind)]), server.log())

    def test_published(self):
        """What `key publish --dns` prints a name server takes, and others find: with the right user ID alone."""
        made = self.proxy("")
        home = self.alice()
        key = home.fingerprint(harness.ALICE)
        home.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-uid", key, "<alice@example.edu>")
        certificate, _ = self.authority.issue(harness.ALICE, "alice")
        for generic in (False, True):
            with self.subTest(generic=generic):
                printed = subprocess.run(
                    [PRIVYSEAL, "key", "publish", harness.ALICE, "--dns", "--config", made.config,
                     *(["--generic"] if generic else [])], capture_output=True, check=True).stdout.decode()
                self.assertEqual("TYPE61" in printed, generic, printed)
                server = Nsd(self, [Zone("example.net", []), Zone("example.org", [printed.strip()])])
                proxy = self.proxy(self.section(server))
                status, lines = self.lines(proxy, harness.ALICE)
                self.assertEqual((status, [line[:3] for line in lines]),
                                 (DONE, [("found", "OpenPGP", "found")]))
                data = bytes.fromhex("".join(printed.split()[5:])) if generic else None
                if generic:
                    path = os.path.join(self.folder, "record")
                    with open(path, "wb") as file:
                        file.write(data)
                    listing = home.run("--show-keys", "--with-colons", path).stdout.decode()
                    self.assertEqual(listing.count("\nuid:"), 1)
                    self.assertIn("<%s>" % harness.ALICE, listing)
        # A certificate, by its fingerprint.
        with open(certificate, "rb") as file:
            subprocess.run([PRIVYSEAL, "key", "import", "--config", made.config], input=file.read(), check=True,
                           capture_output=True)
        _, listed, _ = self.run_cli(made, "key", "list")
        mine = [line["fingerprint"] for line in listed if line["format"] == "smime"]
        self.assertEqual(len(mine), 1)
        status, records, words = self.run_cli(made, "key", "publish", mine[0], "--dns")
        self.assertEqual((status, [record["kind"] for record in records]), (DONE, ["smimea"]), words)
        server = Nsd(self, [Zone("example.net", []), Zone("example.org", [records[0]["where"].strip()])])
        status, lines = self.lines(self.proxy(self.section(server)), harness.ALICE)
        self.assertEqual((status, [line[:3] for line in lines]), (DONE, [("found", "S/MIME", "found")]))



class Rcpt(Case):
    """The proxy asks while the client waits for the answer to RCPT, out of the finder's sandbox."""

    def rcpt(self, proxy, *addresses):
        with Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            return [client.command("RCPT TO:<%s>" % address) for address in addresses]

    def test_required(self):
        bogus, plain = "gail@bogus.example", "gail@plain.example"
        certificate, key = self.authority.issue(ERIN, "erin")
        mine, spoilt = self.authority.run("x509", "-in", certificate, "-outform", "DER"), self.der(bogus, "bogus")
        # What is longer than a datagram comes over TCP; what is no certificate does not harm the one beside it.
        server = Nsd(self, [Zone("example.net", [smimea(ERIN, mine), smimea(ERIN, b"0" * 4000)]),
                            Zone("plain.example", [smimea(plain, self.der(plain, "plain"))], signs=None),
                            # Of two questions one is answered, and the other could have had the certificate.
                            Zone("bogus.example", [smimea(bogus, spoilt), openpgpkey(bogus, self.key(DAVE))],
                                 spoil=lambda text: text.replace(spoilt.hex()[-8:], "00000000"))])
        upstream = RefServer(self, "s")
        proxy = self.proxy(self.section(server), start=True, server=upstream, rules=RULES)
        answers = self.rcpt(proxy, ERIN, FRANK, plain, bogus)
        self.assertEqual([code for code, _ in answers], [250, 550, 550, 451], proxy.log())
        self.assertIn("asked in vain: dane", answers[1][1])
        self.assertIn("plain.example is not signed", proxy.log())
        self.assertIn("signatures of bogus.example are wrong", proxy.log())
        # What is known counts when nobody answers any more, and is sealed to.
        server.stop()
        proxy.send("From: <%s>\r\nTo: <%s>\r\nSubject: x\r\n\r\nfor Erin alone\r\n" % (harness.ALICE, ERIN), [ERIN])
        _, sealed = upstream.mail()[0]
        self.assertNotIn(b"for Erin alone", upstream.wire())
        opened = self.authority.run("cms", "-decrypt", "-recip", certificate, "-inkey", key, data=sealed)
        self.assertIn(b"for Erin alone", opened)

    def test_openpgp(self):
        """A key that only the zone has is trusted by its word, and sealed to."""
        server, upstream = Nsd(self, [Zone("example.edu", [openpgpkey(DAVE, self.key(DAVE))])]), RefServer(self, "s")
        proxy = self.proxy(self.section(server), start=True, server=upstream,
                           rules='rule "all" { encrypt = required  sign = never }')
        self.assertEqual([code for code, _ in self.rcpt(proxy, DAVE)], [250], proxy.log())
        proxy.send("From: <%s>\r\nTo: <%s>\r\nSubject: x\r\n\r\nfor Dave alone\r\n" % (harness.ALICE, DAVE), [DAVE])
        _, sealed = upstream.mail()[0]
        self.assertNotIn(b"for Dave alone", upstream.wire())
        self.assertIn(b"multipart/encrypted", sealed)


if __name__ == "__main__":
    unittest.main()
