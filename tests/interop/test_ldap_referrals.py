"""Referrals: two slapds that lead to each other, followed only where the configuration says so."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
from harness import RefServer  # noqa: E402
from slapd import ADMIN, BASE, PASSWORD, free_port, ldif, person  # noqa: E402
from test_ldap import ERIN, RULES, Case, Stall, section  # noqa: E402

HERE = "localhost"


def elsewhere(port, name="far", host=HERE, scheme="ldap", rest=None):
    """An entry that says where more is to be had (RFC 3296)."""
    dn = "ou=%s,%s" % (name, BASE)
    rest = "/%s??sub" % BASE if rest is None else rest
    return ldif(dn, ["referral", "extensibleObject"], ou=name, ref="%s://%s:%d%s" % (scheme, host, port, rest))


def named(*ports):
    return "{ %s }" % ", ".join('"%s:%d"' % (HERE, port) for port in ports)


class Referrals(Case):
    def erin(self):
        return person("erin", ERIN, userCertificate__binary=self.der(ERIN))

    def found(self, server, scheme="ldap", **options):
        proxy = self.proxy(section(server.url(scheme), ca_file=self.certificate()[0], **options))
        return self.find(proxy, ERIN)

    def expect(self, expected, server, scheme="ldap", saying=None, **options):
        _, lines, words = self.found(server, scheme, **options)
        self.assertEqual([line["state"] for line in lines], [expected], words)
        if saying is not None:
            self.assertIn(saying, words + str(lines))

    def test_only_where_it_is_named(self):
        far = self.slapd([self.erin()], name="far")
        near = self.slapd([elsewhere(far.port)])
        self.expect("nothing", near, saying="referral_hosts")
        self.expect("nothing", near, referral_hosts=named(far.tls_port), saying="referral_hosts")
        self.expect("found", near, referral_hosts=named(far.port))
        self.expect("found", near, "ldaps", referral_hosts=named(1, far.port))
        self.expect("found", near, "ldapi", referral_hosts=named(far.port))
        self.expect("found", near, "ldap+clear", referral_hosts=named(far.port))
        secure = self.slapd([elsewhere(far.tls_port, scheme="ldaps")])
        self.expect("found", secure, referral_hosts=named(far.tls_port))

    def test_both_have_some(self):
        far = self.slapd([self.erin()], name="far")
        near = self.slapd([person("also", ERIN, userCertificate__binary=self.der(ERIN, "also")), elsewhere(far.port)])
        _, lines, words = self.found(near, referral_hosts=named(far.port))
        self.assertEqual([line["state"] for line in lines], ["found", "found"], words)

    def test_all_of_it_elsewhere(self):
        """The server does not hold the base, and says who does."""
        far = self.slapd([self.erin()], name="far")
        near = self.slapd([], options="referral ldap://%s:%d/" % (HERE, far.port))
        base = "uid=erin," + BASE
        with open(near.config, encoding="utf-8") as file:
            text = file.read().replace('suffix "%s"' % BASE, 'suffix "dc=other"')
        near.stop()
        with open(near.config, "w", encoding="utf-8") as file:
            file.write(text)
        near.start()
        self.expect("failed", near, base=base, saying="referral_hosts")
        self.expect("found", near, base=base, referral_hosts=named(far.port))

    def test_the_password_goes_where_it_is_named(self):
        far = self.slapd([self.erin()], name="far", others="* none")
        near = self.slapd([elsewhere(far.port)])
        login = {"bind_dn": ADMIN, "password_command": "printf \\\"%s\\\"" % PASSWORD}
        self.expect("found", near, referral_hosts=named(far.port), **login)
        self.expect("nothing", near, referral_hosts=named(far.port))

    def test_no_tls_no_question(self):
        """A server that is named, but has no TLS, or a certificate of nobody's, gets no question and no password."""
        plain = self.slapd([self.erin()], tls=False, name="plain")
        near = self.slapd([elsewhere(plain.port)])
        self.expect("failed", near, referral_hosts=named(plain.port))
        files = self.certificate("stranger")
        far = self.slapd([self.erin()], name="far")
        with open(far.config, encoding="utf-8") as file:
            text = file.read()
        for mine, other in zip(self.certificate(), files):
            text = text.replace(mine, other)
        far.stop()
        with open(far.config, "w", encoding="utf-8") as file:
            file.write(text)
        far.start()
        near = self.slapd([elsewhere(far.port)])
        self.expect("failed", near, referral_hosts=named(far.port))

    def test_circles(self):
        ports = free_port(), free_port()
        first = self.slapd([elsewhere(ports[1])], port=ports[0])
        self.slapd([elsewhere(ports[0])], port=ports[1], name="far")
        self.expect("nothing", first, referral_hosts=named(*ports), saying="circles")

    def test_far_away(self):
        """Three on the way, no more; each leads to another place, so that it is no circle."""
        far = [self.slapd([self.erin()], name="far")]
        for number in range(4):
            far.append(self.slapd([elsewhere(far[-1].port)], name="n%d" % number))
        ports = named(*[server.port for server in far])
        self.expect("found", far[3], referral_hosts=ports)
        self.expect("nothing", far[4], referral_hosts=ports, saying="too often")

    def test_many(self):
        far = self.slapd([self.erin()], name="far")
        near = self.slapd([elsewhere(far.port, "o%d" % number, rest="/ou=n%d,%s" % (number, BASE))
                           for number in range(9)])
        _, lines, words = self.found(near, referral_hosts=named(far.port))
        self.assertNotIn("found", [line["state"] for line in lines])
        self.assertIn("no such object", (words + str(lines)).lower())

    def test_dead(self):
        """What the first has is used; if it has nothing, nothing is known, and not for longer than a question takes."""
        stall = Stall(self)
        for port in (free_port(), stall.port):
            near = self.slapd([elsewhere(port)])
            self.expect("failed", near, referral_hosts=named(port), timeout="1")
            near = self.slapd([elsewhere(port), self.erin()])
            self.expect("found", near, referral_hosts=named(port), timeout="1")

    def test_rcpt(self):
        stall, far = Stall(self), self.slapd([self.erin()], name="far")
        for port, code in ((far.port, 250), (stall.port, 451)):
            near = self.slapd([elsewhere(port)])
            proxy = self.proxy(section(near.url(), ca_file=self.certificate()[0], timeout="2",
                                       referral_hosts=named(port)), start=True,
                               server=RefServer(self, "s%d" % self.count()), rules=RULES)
            with harness.Raw(proxy.port) as client:
                client.login()
                client.command("MAIL FROM:<%s>" % harness.ALICE)
                self.assertEqual(client.command("RCPT TO:<%s>" % ERIN)[0], code, proxy.log())
            proxy.stop()


if __name__ == "__main__":
    unittest.main()
