"""Keys out of LDAP: a real slapd, asked by `key find`, by `check`, and at RCPT by the proxy."""
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import corpus  # noqa: E402
import harness  # noqa: E402
from harness import DAVE, PRIVYSEAL, Proxy, Raw, RefServer, World, wait_for  # noqa: E402
from slapd import ADMIN, BASE, PASSWORD, Slapd, free_port, ldif, person  # noqa: E402
from test_smime import Authority  # noqa: E402

ERIN, FRANK = "erin@example.net", "frank@example.net"
DONE, REFUSED, USAGE, FAILED = 0, 1, 2, 3


def section(url, name="corp", domains=("example.net",), **options):
    """A section of the configuration."""
    options = {"url": url, "base": BASE, "timeout": "5", **options}
    lines = ['    %s = %s' % (key, value if value.startswith("{") else '"%s"' % value)
             for key, value in options.items() if value is not None]
    if domains:
        lines.append("    domains = { %s }" % ", ".join('"%s"' % each for each in domains))
    return 'directory "%s" {\n%s\n}\n' % (name, "\n".join(lines))


class Stall(threading.Thread):
    """A server that takes connections and says nothing; or what `talk` does with each of them."""

    def __init__(self, world, talk=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.talk, self.taken, self.is_over = self.listener.getsockname()[1], talk, [], False
        self.start()
        world.add(self.close)

    def run(self):
        while not self.is_over:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(connection)
            if self.talk is not None:
                try:
                    self.talk(connection)
                except OSError:
                    continue

    def url(self, scheme="ldap+clear"):
        return "%s://localhost:%d" % (scheme, self.port)

    def close(self):
        self.is_over = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.taken:
            connection.close()
        self.join()


class Case(World):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder, "ca")

    def der(self, address, name="person", **options):
        certificate, _ = self.authority.issue(address, name, key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                                              **options)
        return self.authority.run("x509", "-in", certificate, "-outform", "DER")

    def slapd(self, entries, tls=True, **options):
        files = self.certificate() if tls else None
        return Slapd(self, entries, certificate=files, authority=files[0] if tls else None, **options)

    def proxy(self, sections, start=False, server=None, account="", **options):
        account += '    smime_ca = "%s"\n' % self.authority.certificate
        return Proxy(self, server, options=sections, account=account, start=start, **options)

    def run_cli(self, proxy, *arguments):
        done = subprocess.run([PRIVYSEAL, *arguments, "--config", proxy.config, "--json"], capture_output=True,
                              check=False, timeout=120)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.decode()

    def find(self, proxy, address, *options):
        return self.run_cli(proxy, "key", "find", address, *options)

    def lines(self, proxy, address):
        """(state, trust, reason) of each line of `key find`."""
        _, found, words = self.find(proxy, address)
        self.assertIsNotNone(found, words)
        return [(line["state"], line["trust"], line["reason"]) for line in found]


class Find(Case):
    """What `key find` shows."""

    def test_found_over_every_channel(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        trust = self.certificate()[0]
        for scheme in ("ldaps", "ldap", "ldapi", "ldap+clear"):
            with self.subTest(scheme=scheme):
                proxy = self.proxy(section(server.url(scheme), ca_file=trust))
                status, found, words = self.find(proxy, ERIN)
                self.assertEqual((status, len(found)), (DONE, 1), words)
                self.assertEqual((found[0]["state"], found[0]["kind"], found[0]["trust"]), ("found", "S/MIME", "full"))

    def test_trust_without_a_chain(self):
        other = Authority(self.folder, "other")
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        self.authority = other
        trust = self.certificate()[0]
        for scheme, domains, expected in (("ldaps", ("example.net",), "found"), ("ldaps", (), "unverified"),
                                          ("ldap+clear", ("example.net",), "unverified")):
            with self.subTest(scheme=scheme, domains=domains):
                proxy = self.proxy(section(server.url(scheme), domains=domains, ca_file=trust))
                self.assertEqual([line[:2] for line in self.lines(proxy, ERIN)], [("found", expected)])

    def test_nothing_and_not_asked(self):
        server = self.slapd([])
        talked = Stall(self)
        proxy = self.proxy(section(server.url()) + section(talked.url(), "other", ("example.com",)))
        status, found, _ = self.find(proxy, ERIN)
        self.assertEqual((status, [line["state"] for line in found]), (REFUSED, ["nothing", "not asked"]))
        self.assertEqual(talked.taken, [])

    def test_wrong_expired_and_garbage(self):
        pgp = harness.keys().run("--armor", "--export", harness.CAROL).stdout
        server = self.slapd([
            person("erin", ERIN, userCertificate__binary=[self.der(FRANK, "frank"), self.der(ERIN, "erin")],
                   userSMIMECertificate=b"\x30\x82\xff\xffgarbage", pgpKey=pgp)])
        proxy = self.proxy(section(server.url()))
        lines = self.lines(proxy, ERIN)
        self.assertEqual(sorted(line[0] for line in lines), ["found", "ignored", "ignored"])
        self.assertEqual({line[2] for line in lines if line[0] == "ignored"}, {"it does not carry the address"})
        status, found, _ = self.run_cli(proxy, "key", "find", ERIN, "--at", "2035-01-01")
        self.assertEqual(status, REFUSED)
        self.assertIn("it is expired, or not valid yet", [line["reason"] for line in found])

    def test_several_entries_and_values(self):
        mine = [self.der(ERIN, "erin%d" % number) for number in range(4)]
        server = self.slapd([person("erin", ERIN, userCertificate__binary=mine[:2]),
                             person("erin2", ERIN, userCertificate__binary=mine[2:] + mine[:1])])
        lines = self.lines(self.proxy(section(server.url())), ERIN)
        self.assertEqual([line[0] for line in lines], ["found"] * 4)

    def test_pkcs7_and_openpgp(self):
        certificate, _ = self.authority.issue(ERIN, "erin", key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
        both = self.authority.run("crl2pkcs7", "-nocrl", "-certfile", certificate, "-certfile",
                                  self.authority.certificate, "-outform", "DER")
        dave = harness.keys().run("--export", DAVE).stdout
        server = self.slapd([person("erin", ERIN, userSMIMECertificate=both),
                             person("dave", DAVE, pgpKey=harness.keys().export(DAVE)), ])
        self.assertTrue(dave)
        proxy = self.proxy(section(server.url(), domains=("example.net", "example.edu")))
        lines = self.lines(proxy, ERIN)
        self.assertEqual([line[0] for line in lines], ["found", "ignored"])
        _, found, _ = self.find(proxy, DAVE)
        self.assertEqual([(line["state"], line["kind"], line["trust"]) for line in found],
                         [("found", "OpenPGP", "unverified")])

    def test_intermediate(self):
        """An issuer that comes with the certificate makes the chain whole, also when it has been kept."""
        middle = Authority(self.folder, "middle")
        middle.certificate, middle.key = self.authority.issue(
            "ca@example.net", "between", extensions=("basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"))
        certificate, _ = middle.issue(ERIN, "erin", key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
        both = middle.run("crl2pkcs7", "-nocrl", "-certfile", certificate, "-certfile", middle.certificate, "-outform",
                          "DER")
        server = self.slapd([person("erin", ERIN, userSMIMECertificate=both)])
        proxy = self.proxy(section(server.url()))
        self.assertEqual(sorted(line[:2] for line in self.lines(proxy, ERIN)), [("found", "full"), ("issuer", "")])
        status, _, words = self.find(proxy, ERIN, "--import")
        self.assertEqual(status, DONE, words)
        self.assertIn("1 kept", words)
        _, keys, words = self.run_cli(proxy, "key", "list", ERIN)
        self.assertEqual([key["trust"] for key in keys if key.get("trust")], ["full"], (keys, words))

    def test_import(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN)),
                             person("dave", DAVE, pgpKey=harness.keys().export(DAVE))])
        proxy = self.proxy(section(server.url(), domains=("example.net", "example.edu")))
        for address in (ERIN, DAVE):
            status, _, words = self.find(proxy, address, "--import")
            self.assertEqual(status, DONE, words)
            self.assertIn("1 kept", words)
        self.assertIn(DAVE, self.alice().run("--list-keys", DAVE).stdout.decode())

    def test_injection(self):
        """What is in an address is never a filter: nobody else's entry comes."""
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN)),
                             person("odd", "*@example.net", userCertificate__binary=self.der("x@example.net"))])
        proxy = self.proxy(section(server.url()))
        for address in ('"e*"@example.net', "*@example.net", '"erin)(uid=*"@example.net', '"*)(mail=*"@example.net',
                        '"erin\\\\2a"@example.net', '"e\\\\*"@example.net', '"\\\\"@example.net'):
            with self.subTest(address=address):
                status, found, words = self.find(proxy, address)
                self.assertIn(status, (REFUSED, USAGE), words)
                for line in found or []:
                    self.assertIn(line["state"], ("nothing", "ignored"))


class Login(Case):
    def test_simple_and_external(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))], others="* none")
        trust = self.certificate()[0]
        secret = os.path.join(self.folder, "secret")
        for text, expected in ((PASSWORD, "found"), ("wrong", "failed"), ("", "failed")):
            with open(secret, "w", encoding="utf-8") as file:
                file.write(text + "\n" if text else "")
            proxy = self.proxy(section(server.url("ldaps"), ca_file=trust, bind_dn=ADMIN,
                                       password_command="cat '%s'" % secret))
            with self.subTest(text=text):
                self.assertEqual([line[0] for line in self.lines(proxy, ERIN)], [expected])
        proxy = self.proxy(section(server.url("ldapi"), sasl="external"))
        self.assertEqual([line[0] for line in self.lines(proxy, ERIN)], ["found"])
        proxy = self.proxy(section(server.url("ldapi")))
        self.assertEqual([line[0] for line in self.lines(proxy, ERIN)], ["nothing"])

    def test_tls_is_required(self):
        plain = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))], tls=False)
        good = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        stranger = self.certificate("stranger")[0]
        for url, trust in ((plain.url("ldap"), None), (good.url("ldap"), stranger), (good.url("ldaps"), stranger),
                           (good.url("ldaps"), None)):
            with self.subTest(url=url):
                proxy = self.proxy(section(url, ca_file=trust))
                status, found, _ = self.find(proxy, ERIN)
                self.assertEqual((status, [line["state"] for line in found]), (FAILED, ["failed"]))

    def test_why(self):
        proxy = self.proxy(section("ldaps://localhost:1") + section("ldaps://localhost:1", "other", ("example.com",)),
                           rules=RULES)
        status, answer, _ = self.run_cli(proxy, "why", ERIN)
        self.assertEqual((status, answer["sources"]), (REFUSED, ["directory corp"]))
        _, answer, _ = self.run_cli(proxy, "why", harness.BOB, "--from", harness.ALICE)
        self.assertEqual(answer["sources"], ["directory corp"])

    def test_check(self):
        server = self.slapd([])
        trust = self.certificate()[0]
        proxy = self.proxy(section(server.url("ldap"), ca_file=trust) +
                           section(server.url("ldaps"), "wrong", ca_file=trust, base="dc=nowhere") +
                           section("ldap+clear://127.0.0.1:%d" % free_port(), "dead"))
        _, lines, words = self.run_cli(proxy, "check")
        states = {line["subject"]: line["state"] for line in lines}
        self.assertEqual([states.get(name) for name in ("corp", "wrong", "dead")], ["ok", "bad", "bad"], words)


def ber(tag, *parts):
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x84" + len(body).to_bytes(4, "big")
    return bytes([tag]) + size + body


def message(number, operation):
    return ber(0x30, ber(0x02, bytes([number])), operation)


def entry(number, *values):
    attribute = ber(0x30, ber(0x04, b"userCertificate;binary"), ber(0x31, *[ber(0x04, value) for value in values]))
    return message(number, ber(0x64, ber(0x04, b"uid=x," + BASE.encode()), ber(0x30, attribute)))


def result(number, code=0):
    return message(number, ber(0x65, ber(0x0a, bytes([code])), ber(0x04), ber(0x04)))


class Lies(Case):
    """A server that speaks LDAP and means no good."""

    def answers(self, answer, timeout="2"):
        """What is made of a server that answers the first request so; `answer` gives pieces for ever or not."""
        def talk(connection):
            request = connection.recv(65536)
            # SEQUENCE, length, INTEGER, 1, number
            number = request[request.index(b"\x02\x01") + 2]
            for piece in answer(number):
                connection.sendall(piece)

        liar = Stall(self, talk)
        return self.lines(self.proxy(section(liar.url(), timeout=timeout)), ERIN)

    def test_lies(self):
        def endless_entries(number):
            while True:
                yield entry(number, b"\x30\x03abc")

        def endless_value(_number):
            yield b"\x30\x84\x7f\xff\xff\xff\x02\x01\x02"
            while True:
                yield b"x" * 65536

        def endless_others(_number):
            while True:
                yield result(99) * 5000

        for name, answer in (("entries", endless_entries), ("value", endless_value),
                             ("thousands", lambda number: [entry(number)] * 5000 + [result(number)]),
                             ("no LDAP", lambda _: [b"HTTP/1.1 200 OK\r\n\r\n"]),
                             ("cut", lambda number: [entry(number)[:20]]),
                             ("error", lambda number: [result(number, 1)])):
            with self.subTest(name):
                self.assertEqual([line[0] for line in self.answers(answer)], ["failed"])

        # Long before the time is over.
        self.assertIn(("failed", "", "the answer has no end"), self.answers(endless_others, timeout="120"))

    def test_garbage(self):
        values = [b"", b"\x30", b"\x30\x80" + b"\0" * 99, b"\x99" * 50, b"text"]
        lines = self.answers(lambda number: [entry(number, *values), result(number)])
        self.assertNotIn("found", [line[0] for line in lines])

    def test_good_in_pieces(self):
        """The same in single bytes: the counterpart of all the above."""
        der = self.der(ERIN)
        lines = self.answers(lambda number: (bytes([byte]) for byte in entry(number, der) + result(number)))
        self.assertEqual([line[0] for line in lines], ["found"])

    def test_good_behind_others(self):
        """What answers no question hides nothing."""
        der = self.der(ERIN)
        lines = self.answers(lambda number: [result(99) * 3 + entry(number, der) + result(98) + result(number)])
        self.assertEqual([line[0] for line in lines], ["found"])

    def test_words_before_tls(self):
        """What was sent in clear after the answer to StartTLS is not taken for the server's."""
        der, (certificate, key) = self.der(ERIN), self.certificate()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        injected = True

        def talk(connection):
            connection.recv(65536)
            words = entry(2, der) + result(2)
            connection.sendall(message(1, ber(0x78, ber(0x0a, b"\0"), ber(0x04), ber(0x04))) +
                               (words if injected else b""))
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                if not injected:
                    secure.sendall(words)
                while secure.recv(65536):
                    continue

        proxy = self.proxy(section(Stall(self, talk).url("ldap"), timeout="2", ca_file=certificate))
        self.assertEqual([line[0] for line in self.lines(proxy, ERIN)], ["failed"])
        injected = False
        self.assertEqual([line[0] for line in self.lines(proxy, ERIN)], ["found"])


RULES = ('rule "net" { to = { "*@example.net" }  encrypt = required  sign = never  format = { smime, openpgp } }\n'
         'rule "all" { encrypt = when-possible  sign = never  format = { smime, openpgp } }')


class Rcpt(Case):
    """The proxy asks while the client waits for the answer to RCPT."""

    def serve(self, sections, rules=RULES):
        server = RefServer(self, "s%d" % self.count())
        return self.proxy(sections, start=True, server=server, rules=rules)

    def rcpt(self, proxy, *addresses):
        with Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            return [client.command("RCPT TO:<%s>" % address) for address in addresses]

    def test_required(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        proxy = self.serve(section(server.url("ldaps"), ca_file=self.certificate()[0]))
        codes = [code for code, _ in self.rcpt(proxy, ERIN, FRANK)]
        self.assertEqual(codes, [250, 550], proxy.log())
        self.assertIn("asked in vain: directory corp", self.rcpt(proxy, FRANK)[0][1])
        # Each has been asked for once; what is known counts when nobody answers any more.
        server.stop()
        codes = [code for code, _ in self.rcpt(proxy, ERIN, FRANK)]
        self.assertEqual(codes, [250, 550], proxy.log())

    def test_word_that_is_not_kept(self):
        """A directory's word outlasts the message that it was asked for, however short it is kept."""
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        self.authority = Authority(self.folder, "other")
        proxy = self.serve(section(server.url("ldaps"), ca_file=self.certificate()[0], keep_found="0"))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        proxy.send(corpus.text(), [ERIN])

    def test_dead_and_slow(self):
        stall = Stall(self)
        for url in ("ldap+clear://127.0.0.1:%d" % free_port(), stall.url()):
            with self.subTest(url=url):
                proxy = self.serve(section(url, domains=None, timeout="1"))
                code, text = self.rcpt(proxy, ERIN)[0]
                self.assertEqual((code, text[:5]), (451, "4.7.5"), proxy.log())
                self.assertEqual(self.rcpt(proxy, "x@example.com")[0][0], 250, proxy.log())
                self.assertIn("goes on with what", proxy.log())
                proxy.stop()

    def test_dead_is_left_alone(self):
        """Not every recipient waits for a directory that does not answer; nothing else changes."""
        for options, connections in (({}, 1), ({"keep_failed": "0"}, 2)):
            with self.subTest(options=options):
                stall = Stall(self)
                proxy = self.serve(section(stall.url(), timeout="1", **options))
                self.assertEqual([self.rcpt(proxy, address)[0][0] for address in (ERIN, FRANK)], [451, 451])
                self.assertEqual(len(stall.taken), connections, proxy.log())
                proxy.stop()

    def test_asked_again(self):
        """A certificate that leads to an anchor: asked for again in time, still used if nobody answers, then gone."""
        mine = person("erin", ERIN, userCertificate__binary=self.der(ERIN))
        server = self.slapd([mine])
        proxy = self.serve(section(server.url(), keep_found="0", keep_missing="0", keep_failed="0"))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        server.stop()
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        self.assertIn("not every source could be asked for " + ERIN, proxy.log())
        empty = self.slapd([], port=server.port)
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 550, proxy.log())
        self.assertIn("it no longer has", proxy.log())
        empty.stop()
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 451, proxy.log())

    def test_not_all_of_it(self):
        """What is not in an answer that does not have all is not gone for it."""
        kept = {"keep_found": "0", "keep_missing": "0"}
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        proxy = self.serve(section(server.url(), size_limit="1", **kept))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        server.stop()
        self.slapd([person("erin%d" % number, ERIN) for number in range(3)], port=server.port)
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        self.assertIn("more entries for the address than size_limit", proxy.log())
        self.assertNotIn("it no longer has", proxy.log())

    def test_no_leak(self):
        """An address goes to no directory that is not for its domain."""
        stall = Stall(self)
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))])
        stranger = section(stall.url(), "other", domains=("example.edu",))
        for sections, codes in ((stranger, [550, 250]), (section(server.url()) + stranger, [250, 250])):
            proxy = self.serve(sections)
            self.assertEqual([code for code, _ in self.rcpt(proxy, ERIN, "x@example.com")], codes)
            self.assertEqual(stall.taken, [])
            proxy.stop()

    def test_finder_dies(self):
        """Another takes its place, and asks."""
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN)),
                             person("frank", FRANK, userCertificate__binary=self.der(FRANK, "frank"))])
        proxy = self.serve(section(server.url("ldap"), ca_file=self.certificate()[0]))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        finder = proxy.workers()[1]
        os.kill(finder, 9)
        wait_for(lambda: self.rcpt(proxy, FRANK)[0][0] == 250, "the next finder")
        self.assertNotIn(finder, proxy.workers())

    def test_local(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))], others="* none")
        proxy = self.serve(section(server.url("ldapi"), sasl="external"))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())

    def test_password(self):
        server = self.slapd([person("erin", ERIN, userCertificate__binary=self.der(ERIN))], others="* none")
        proxy = self.serve(section(server.url("ldaps"), ca_file=self.certificate()[0], bind_dn=ADMIN,
                                   password_command="printf \\\"%s\\\"" % PASSWORD))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())

    def test_password_changes(self):
        """The command is run again when what it printed is refused."""
        secret = os.path.join(self.folder, "secret")
        people = [person("erin", ERIN, userCertificate__binary=self.der(ERIN)),
                  person("frank", FRANK, userCertificate__binary=self.der(FRANK, "frank"))]
        with open(secret, "w", encoding="utf-8") as file:
            file.write(PASSWORD)
        server = self.slapd(people, others="* none")
        proxy = self.serve(section(server.url(), bind_dn=ADMIN, password_command="cat '%s'" % secret, keep_failed="0"))
        self.assertEqual(self.rcpt(proxy, ERIN)[0][0], 250, proxy.log())
        server.stop()
        with open(secret, "w", encoding="utf-8") as file:
            file.write("another")
        self.slapd(people, others="* none", port=server.port, password="another")
        wait_for(lambda: self.rcpt(proxy, FRANK)[0][0] == 250, "the new password")
        self.assertEqual(proxy.log().count("asks for it again"), 1, proxy.log())

    def test_sealed(self):
        """A message to somebody whose certificate came out of a directory is for that certificate."""
        certificate, key = self.authority.issue(ERIN, "erin")
        der = self.authority.run("x509", "-in", certificate, "-outform", "DER")
        server, upstream = self.slapd([person("erin", ERIN, userCertificate__binary=der)]), RefServer(self)
        proxy = self.proxy(section(server.url("ldaps"), ca_file=self.certificate()[0]), start=True, server=upstream,
                           rules=RULES)
        proxy.send("From: <%s>\r\nTo: <%s>\r\nSubject: x\r\n\r\nfor Erin alone\r\n" % (harness.ALICE, ERIN), [ERIN])
        _, sealed = upstream.mail()[0]
        self.assertNotIn(b"for Erin alone", upstream.wire())
        opened = self.authority.run("cms", "-decrypt", "-recip", certificate, "-inkey", key, data=sealed)
        self.assertIn(b"for Erin alone", opened)


if __name__ == "__main__":
    unittest.main()
