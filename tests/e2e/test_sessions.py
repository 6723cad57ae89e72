"""What a mail program meets in a session: what is offered, how it logs in, TLS, and how commands are answered."""
import base64
import hashlib
import hmac
import os
import subprocess
import sys
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, DAVE
from sessions import Case, letter

ALL_MECHANISMS = "PLAIN LOGIN XOAUTH2 OAUTHBEARER CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"


def encoded(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


class Offers(Case):
    def offered(self, tls=False):
        with self.proxy.client(login=False, tls=tls) as client:
            return client.esmtp_features

    def test_everything(self):
        self.begin(features="PIPELINING,SIZE=1000000,8BITMIME,ENHANCEDSTATUSCODES,DSN,SMTPUTF8,CHUNKING,BINARYMIME,"
                            "VRFY,ETRN,X-ODD")
        offer = self.offered()
        self.assertEqual(set(offer),
                         {"size", "pipelining", "8bitmime", "enhancedstatuscodes", "chunking", "dsn", "smtputf8",
                          "starttls", "auth"})
        self.assertEqual(offer["auth"].split(), ["PLAIN", "LOGIN"])
        self.assertTrue(500000 < int(offer["size"]) < 750000)
        self.assertNotIn("starttls", self.offered(tls=True))

    def test_little(self):
        self.begin(features="", auth="PLAIN")
        offer = self.offered()
        self.assertEqual(set(offer),
                         {"size", "pipelining", "8bitmime", "enhancedstatuscodes", "chunking", "starttls", "auth"})
        self.assertEqual(int(offer["size"]), 104857600)
        self.assertEqual(offer["auth"].split(), ["PLAIN", "LOGIN"])

    def test_mechanisms(self):
        self.begin(auth=ALL_MECHANISMS + " GSSAPI SCRAM-SHA-256-PLUS")
        self.assertEqual(set(self.offered()["auth"].split()), set(ALL_MECHANISMS.split()))

    def test_no_server_first_mechanisms_where_accounts_differ(self):
        other = harness.RefServer(self, name="o", auth=ALL_MECHANISMS)
        self.begin(auth=ALL_MECHANISMS, account='}\naccount "zoe@example.org" {\n  smtp = "%s"\n' % other.url())
        self.assertEqual(set(self.offered()["auth"].split()), {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"})

    def test_no_auth_again_after_login(self):
        self.begin()
        raw = self.raw()
        code, offer = raw.command("EHLO again")
        self.assertEqual(code, 250)
        self.assertNotIn("AUTH", offer)
        self.assertEqual(raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))[0], 503)

    def test_without_upstream(self):
        """A server that is down delays no client, and AUTH says what is wrong."""
        self.begin()
        self.server.close()
        with harness.Raw(self.proxy.port) as raw:
            self.assertEqual(raw.command("EHLO x")[0], 250)
            code, text = raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))
            self.assertEqual(code, 451)
            self.assertIn("4.4.1", text)

    def test_size_is_enforced(self):
        self.begin(features="SIZE=200000")
        size = int(self.offered()["size"])
        raw = self.raw()
        code, text = raw.command("MAIL FROM:<%s> SIZE=%d" % (ALICE, size + 1))
        self.assertEqual((code, text[:5]), (552, "5.3.4"))
        raw.begin([BOB])
        raw.send(letter(text="x" * 70 + "\n", extra="X: y\n") + (b"y" * 70 + b"\r\n") * (size // 72 + 1) +
                 b".\r\nNOOP\r\n")
        self.assertEqual(raw.reply()[0], 552)
        self.assertEqual(raw.reply()[0], 250)
        self.assertEqual(self.server.mail(), [])


class Login(Case):
    def check(self, mechanism, *responses, code=235):
        """AUTH with an initial response, then one for each challenge; gives back the challenges."""
        raw = harness.Raw(self.proxy.port)
        self.addCleanup(raw.close)
        raw.command("EHLO x")
        first, rest = responses[0], responses[1:]
        got, text = raw.command("AUTH %s%s" % (mechanism, "" if first is None else " " + (encoded(first) or "=")))
        challenges = []
        for response in rest:
            self.assertEqual(got, 334, text)
            challenges.append(base64.b64decode(text))
            got, text = raw.command(encoded(response(challenges[-1]) if callable(response) else response))
        self.assertEqual(got, code, text)
        if code == 235:
            raw.begin([BOB])
            raw.send(letter() + b".\r\n")
            self.assertEqual(raw.reply()[0], 250)
            self.assertEqual(self.server.mail()[-1][0]["login"], "alice")
        else:
            self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 530)
        return challenges

    def test_plain(self):
        self.begin(auth="PLAIN")
        self.check("PLAIN", "\0alice\0secret")
        self.check("plain", None, "\0alice\0secret")
        self.check("PLAIN", "\0alice\0wrong", code=535)
        self.check("LOGIN", None, "alice", "secret")

    def test_login(self):
        self.begin(auth="LOGIN")
        self.assertEqual(self.check("LOGIN", None, "alice", "secret"), [b"Username:", b"Password:"])
        self.check("LOGIN", "alice", "secret")
        self.check("LOGIN", None, "alice", "wrong", code=535)
        self.check("PLAIN", "\0alice\0secret")
        self.check("PLAIN", "\0alice\0wrong", code=535)

    def test_tokens(self):
        self.begin(auth="XOAUTH2 OAUTHBEARER")
        self.check("XOAUTH2", "user=alice\1auth=Bearer secret\1\1")
        self.check("OAUTHBEARER", "n,a=alice,\1host=x\1port=587\1auth=Bearer secret\1\1")
        self.assertIn(b"invalid_token", self.check("XOAUTH2", "user=alice\1auth=Bearer stale\1\1", "", code=535)[0])
        self.check("OAUTHBEARER", "n,a=alice,\1auth=Bearer stale\1\1", "\1", code=535)

    def test_cram_md5(self):
        self.begin(auth="CRAM-MD5")
        self.check("CRAM-MD5", None, lambda challenge: "alice " + hmac.new(b"secret", challenge, "md5").hexdigest())
        self.check("CRAM-MD5", None, lambda challenge: "alice " + hmac.new(b"wrong", challenge, "md5").hexdigest(),
                   code=535)
        self.check("CRAM-MD5", None, lambda challenge: "mallory " + hmac.new(b"secret", challenge, "md5").hexdigest(),
                   code=535)

    def scram(self, hash_name, password):
        """RFC 5802: the client's first message, and the answer to the server's."""
        bare = "n=alice,r=fyko+d2lbbFgONRv9qkxdawL"

        def final(challenge):
            fields = dict(word.split("=", 1) for word in challenge.decode().split(","))
            salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
            without = "c=biws,r=" + fields["r"]
            text = ",".join((bare, challenge.decode(), without)).encode()
            key = hmac.new(salted, b"Client Key", hash_name).digest()
            signature = hmac.new(hashlib.new(hash_name, key).digest(), text, hash_name).digest()
            proof = bytes(a ^ b for a, b in zip(key, signature))
            server = hmac.new(hmac.new(salted, b"Server Key", hash_name).digest(), text, hash_name).digest()
            self.server_final = b"v=" + base64.b64encode(server)
            return "%s,p=%s" % (without, base64.b64encode(proof).decode())
        return "n,," + bare, final

    def test_scram(self):
        self.begin(auth="SCRAM-SHA-1 SCRAM-SHA-256")
        for mechanism, hash_name in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256")):
            with self.subTest(mechanism=mechanism):
                challenges = self.check(mechanism, *self.scram(hash_name, "secret"), "")
                self.assertEqual(challenges[1], self.server_final)
                self.check(mechanism, *self.scram(hash_name, "wrong"), code=535)
                self.check(mechanism, None, *self.scram(hash_name, "secret"), "")

    def test_refused_here(self):
        """What never reaches the server: a foreign authorisation identity, an unknown login, nonsense."""
        self.begin(auth="PLAIN SCRAM-SHA-256")
        with self.proxy.client(login=False):
            pass
        wire = len(self.server.wire())
        self.check("PLAIN", "bob\0alice\0secret", code=535)
        self.check("PLAIN", "\0mallory\0secret", code=535)
        self.check("PLAIN", "alice secret", code=535)
        self.check("SCRAM-SHA-256", "n,a=bob,n=alice,r=abc", code=535)
        self.check("SCRAM-SHA-256", "p=tls-unique,,n=alice,r=abc", code=535)
        self.assertEqual(len(self.server.wire()), wire)
        with harness.Raw(self.proxy.port) as raw:
            raw.command("EHLO x")
            self.assertEqual(raw.command("AUTH PLAIN ?")[0], 501)
            self.assertEqual(raw.command("AUTH GSSAPI")[0], 504)
            self.assertEqual(raw.command("AUTH PLAIN")[0], 334)
            self.assertEqual(raw.command("*")[0], 501)
            self.assertEqual(raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))[0], 235)

    def test_second_try(self):
        self.begin()
        with harness.Raw(self.proxy.port) as raw:
            raw.command("EHLO x")
            self.assertEqual(raw.command("AUTH PLAIN " + encoded("\0alice\0wrong"))[0], 535)
            self.assertEqual(raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))[0], 235)

    def test_nothing_before_login(self):
        self.begin()
        raw = self.raw(login=False)
        self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 503)
        raw.command("EHLO x")
        for command in ("MAIL FROM:<%s>" % ALICE,):
            code, text = raw.command(command)
            self.assertEqual((code, text[:5]), (530, "5.7.0"))
        for command in ("RCPT TO:<%s>" % BOB, "DATA"):
            self.assertEqual(raw.command(command)[0] // 100, 5)
        self.assertNotIn(b"MAIL", self.server.wire())

    def test_password_is_not_logged(self):
        self.begin()
        self.check("PLAIN", "\0alice\0secret")
        self.check("LOGIN", None, "alice", "secret")
        for word in ("secret", encoded("secret"), encoded("\0alice\0secret")):
            self.assertNotIn(word, self.proxy.log())

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_another_user_of_this_machine(self):
        """On loopback only the user whom privyseal serves may log in, whatever the server says of the password."""
        self.begin()
        program = ("import smtplib, sys\nclient = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), 'x')\n"
                   "try:\n    client.login('alice', 'secret')\n    print('in')\n"
                   "except smtplib.SMTPException as error:\n    print(error)\n")
        command = [sys.executable, "-c", program, str(self.proxy.port)]
        done = subprocess.run(command, capture_output=True, user=65534, group=65534, extra_groups=[], cwd="/",
                              check=False)
        self.assertIn(b"554", done.stdout, done.stderr)
        self.assertIn(b"5.7.1", done.stdout)
        self.assertNotIn(b"AUTH", self.server.wire())
        self.assertIn(b"in", subprocess.run(command, capture_output=True, cwd="/", check=False).stdout)


class Tls(Case):
    def test_injection_is_thrown_away(self):
        self.begin()
        for behind in (b"EHLO evil\r\n", b"NOOP\r\nNOOP\r\n",
                       b"AUTH PLAIN " + encoded("\0alice\0secret").encode() + b"\r\n"):
            with self.subTest(behind=behind), harness.Raw(self.proxy.port) as raw:
                raw.command("EHLO x")
                raw.send(b"STARTTLS\r\n" + behind)
                self.assertEqual(raw.reply()[0], 554)
                self.assertEqual(raw.command("VRFY x")[0], 252)
                raw.start_tls(self.proxy.tls_context())
                self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 503)
                raw.login()

    def test_what_was_known_is_forgotten(self):
        """EHLO before STARTTLS counts for nothing behind it (RFC 3207 §4.2)."""
        self.begin()
        with harness.Raw(self.proxy.port) as raw:
            raw.command("EHLO x")
            raw.start_tls(self.proxy.tls_context())
            self.assertEqual(raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))[0], 503)
            self.assertNotIn("STARTTLS", "\n".join(raw.login()))
            self.assertEqual(raw.command("STARTTLS")[0], 503)

    def test_implicit(self):
        self.begin(listen='listen smtp { at = "127.0.0.1:0"  tls = implicit }')
        with harness.Raw(self.proxy.port, greeting=False) as raw:
            raw.secure(self.proxy.tls_context())
            self.assertEqual(raw.reply()[0], 220)
            self.assertNotIn("STARTTLS", "\n".join(raw.login()))
            raw.begin([BOB])
            raw.send(letter() + b".\r\n")
            self.assertEqual(raw.reply()[0], 250)
        self.assertEqual(self.server.recipients(), [BOB])

    def test_none(self):
        self.begin(listen='listen smtp { at = "127.0.0.1:0"  tls = none }')
        raw = self.raw()
        self.assertNotIn("STARTTLS", self.offer)
        self.assertEqual(raw.command("STARTTLS")[0] // 100, 5)

    def test_ipv6_and_several_listeners(self):
        self.begin(listen='listen "smtp:a" { at = { "127.0.0.1:0", "[::1]:0" } }\n'
                          'listen "smtp:b" { at = "[::1]:0"  tls = implicit }')
        self.assertEqual(len(self.proxy.ports), 3)
        for host, port in zip(("127.0.0.1", "::1"), self.proxy.ports):
            with harness.Raw(port, host=host) as raw:
                raw.login()
        with harness.Raw(self.proxy.ports[2], host="::1", greeting=False) as raw:
            raw.socket = self.proxy.tls_context().wrap_socket(raw.socket, server_hostname="::1")
            self.assertEqual(raw.reply()[0], 220)
            raw.login()

    def test_old_versions_are_refused(self):
        self.begin()
        context = self.proxy.tls_context()
        for version in ("TLSv1", "TLSv1_1"):
            with self.subTest(version=version), harness.Raw(self.proxy.port) as raw:
                done = subprocess.run(["openssl", "s_client", "-starttls", "smtp",
                                       "-connect", "127.0.0.1:%d" % self.proxy.port,
                                       "-" + {"TLSv1": "tls1", "TLSv1_1": "tls1_1"}[version],
                                       "-cipher", "DEFAULT@SECLEVEL=0"],
                                      input=b"", capture_output=True, check=False)
                self.assertNotEqual(done.returncode, 0)
        with harness.Raw(self.proxy.port) as raw:
            raw.command("EHLO x")
            raw.start_tls(context)
            self.assertIn(raw.socket.version(), ("TLSv1.2", "TLSv1.3"))

    def upstream_refused(self, **options):
        self.begin(**options)
        with harness.Raw(self.proxy.port) as raw:
            raw.command("EHLO x")
            code, text = raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))
        self.assertEqual(code, 451)
        self.assertIn("4.7.5", text)
        self.assertNotIn(b"AUTH", self.server.wire())

    def test_upstream_with_a_strange_certificate(self):
        ca_file, _ = self.certificate("other")
        for tls in ("starttls", "implicit"):
            with self.subTest(tls=tls):
                self.upstream_refused(tls=tls, ca_file=ca_file, name="s" + tls)

    def test_upstream_with_another_name(self):
        for tls in ("starttls", "implicit"):
            with self.subTest(tls=tls):
                self.upstream_refused(tls=tls, certificate=self.certificate("elsewhere", "DNS:elsewhere.example"),
                                      name="s" + tls)


class Commands(Case):
    def test_each(self):
        self.begin()
        raw = self.raw(login=False)
        self.assertEqual(raw.greeting[0], 220)
        self.assertIn("ESMTP", raw.greeting[1])
        self.assertEqual(raw.command("NOOP")[0], 250)
        raw.login()
        for command, code in (("NOOP", 250), ("NOOP with words", 250), ("RSET", 250), ("VRFY bob", 252), ("HELP", 214),
                              ("EXPN list", 502), ("FROB", 500), ("DATA now", 503), ("RCPT TO:<%s>" % BOB, 503),
                              ("MAIL FROM:%s" % ALICE, 501), ("MAIL FROM:<>", 250), ("MAIL FROM:<%s>" % ALICE, 503),
                              ("DATA", 554), ("RSET", 250), ("MAIL FROM:<%s> FROB=1" % ALICE, 555),
                              ("MAIL FROM:<%s>" % ALICE, 250), ("RCPT TO:<no at>", 553), ("RCPT TO:<%s>" % BOB, 250),
                              ("RSET", 250), ("DATA", 503), ("noop", 250), ("QUIT", 221)):
            got, text = raw.command(command)
            self.assertEqual(got // 100 if code in (500, 501, 553) else got,
                             code // 100 if code in (500, 501, 553) else code,
                             "%s: %s" % (command, text))
        self.assertEqual(raw.reply()[0], 0)
        self.assertEqual(self.server.mail(), [])

    def test_helo(self):
        """HELO means no extensions: no AUTH, so no mail."""
        self.begin()
        raw = self.raw(login=False)
        self.assertEqual(raw.command("HELO x"), (250, raw.greeting[1].split()[0]))
        self.assertEqual(raw.command("AUTH PLAIN " + encoded("\0alice\0secret"))[0] // 100, 5)
        self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 530)

    def test_bad_commands_end_a_session(self):
        self.begin()
        raw = self.raw(login=False)
        raw.send(b"FROB\r\n" * 100)
        codes = raw.replies_to_the_end()
        self.assertEqual(codes[-1], 421)
        self.assertLessEqual(len(codes), 25)

    def test_pipelining(self):
        self.begin()
        raw = self.raw()
        raw.send(("MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (ALICE, BOB, CAROL)).encode())
        self.assertEqual([raw.reply()[0] for _ in range(4)], [250, 250, 250, 354])
        raw.send(letter("%s, %s" % (BOB, CAROL)) +
                 (".\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (ALICE, DAVE)).encode())
        self.assertEqual([raw.reply()[0] for _ in range(4)], [250, 250, 250, 354])
        raw.send(letter(DAVE) + b".\r\nQUIT\r\n")
        self.assertEqual(raw.replies_to_the_end(), [250, 221])
        self.assertEqual(self.server.recipients(), [BOB, CAROL, DAVE])

    def test_pipelined_behind_a_refused_recipient(self):
        self.begin(rules=harness.REQUIRED)
        raw = self.raw()
        raw.send(("MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\nRSET\r\n" % (ALICE, DAVE)).encode())
        self.assertEqual([raw.reply()[0] for _ in range(4)], [250, 550, 554, 250])
        raw.begin([BOB])
        raw.send(letter() + b".\r\n")
        self.assertEqual(raw.reply()[0], 250)

    def test_two_messages_in_a_session(self):
        self.begin()
        with self.proxy.client() as client:
            for number in (1, 2, 3):
                client.sendmail(ALICE, [BOB], letter(number=number))
        self.assertEqual([corpus.read(content)["Message-ID"] for _, content in self.server.mail()],
                         ["<%d@example.org>" % number for number in (1, 2, 3)])

    def test_refusals_of_the_server_reach_the_client(self):
        self.begin()
        self.server.faults("mail:1=452 4.3.1 no room", "rcpt:1=550 5.1.1 no such user", "rcpt:3=451 4.2.1 grey")
        raw = self.raw()
        self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE), (452, "4.3.1 no room"))
        self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 250)
        self.assertEqual(raw.command("RCPT TO:<%s>" % BOB), (550, "5.1.1 no such user"))
        self.assertEqual(raw.command("RCPT TO:<%s>" % CAROL)[0], 250)
        self.assertEqual(raw.command("RCPT TO:<%s>" % DAVE), (451, "4.2.1 grey"))
        self.assertEqual(raw.command("DATA")[0], 354)
        raw.send(letter(CAROL) + b".\r\n")
        self.assertEqual(raw.reply()[0], 250)
        self.assertEqual(self.server.recipients(), [CAROL])


if __name__ == "__main__":
    unittest.main()
