"""Mail by S/MIME through the IMAP proxy: opened, shown alike for ever, searched, locked, damaged, and whose it is."""
import base64
import datetime
import re
import smtplib
import time
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import corpus
import harness
import smime_made
from dovecot import Dovecot
from harness import BOB, wait_for
from imap_dovecot import DovecotCase, RawLog, read
from imap_harness import RefImap
from smime_made import CBC, around, detached, enveloped, entity_of, import_own, leaf, opaque, people, sealed, signed
from test_imap_constant import Constant, verdict_of
from test_imap_first import from_bob
from twin import answers

REQUIRED = 'rule all { encrypt = required trust = full sign = always format = smime }'
LIFE_S = 25


def brief(pair, seconds):
    """The same certificate, but for so many seconds; the key stays."""
    authority = people().authority
    with open(authority.certificate, "rb") as file:
        issuer = x509.load_pem_x509_certificate(file.read())
    with open(authority.key, "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    with open(pair[0], "rb") as file:
        old = x509.load_pem_x509_certificate(file.read())
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(issuer.subject, old.subject, old.public_key(), x509.random_serial_number(),
                                      now - datetime.timedelta(days=2), now + datetime.timedelta(seconds=seconds))
    for extension in old.extensions:
        if extension.oid != x509.oid.ExtensionOID.AUTHORITY_KEY_IDENTIFIER:
            builder = builder.add_extension(extension.value, extension.critical)
    path = pair[0][:-4] + ".brief.crt"
    with open(path, "wb") as file:
        file.write(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path, pair[1]


def damaged(message, change):
    """The last CMS object of the message after `change` has had its bytes."""
    head, body = message.rsplit(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n" + base64.encodebytes(change(base64.b64decode(body))).replace(b"\n", b"\r\n")


def flipped(at):
    return lambda der: der[:at] + bytes([der[at] ^ 1]) + der[at + 1:]


class Smime(Constant):
    """An account that has certificates, and no OpenPGP key."""

    def begin_with(self, *messages, account=None, imports=True, **options):
        self.alice(has_key=False)
        self.begin(account=smime_made.account() if account is None else account, **options)
        if imports:
            import_own(self.proxy.config, *people().own())
        self.server.put(*messages)

    def fingerprint(self, pair):
        text = people().authority.run("x509", "-in", pair[0], "-noout", "-fingerprint", "-sha256").decode()
        return text.split("=")[1].strip().replace(":", "")

    def check_verdict(self, view, **expected):
        words = verdict_of(view).decode()
        for name, value in expected.items():
            self.assertRegex(words, r"\b%s=%s\b" % (name, value), view[:800])


class Lost(Smime):
    def test_files_keys_and_dates(self):
        """Restarted, killed, without its views, without its private keys, after certificates have expired."""
        bob = brief(people().bob, LIFE_S)
        until = time.time() + LIFE_S
        kinds = [from_bob("plain"), sealed(from_bob("gcm"), by=bob), sealed(from_bob("cbc"), by=bob, cipher=CBC),
                 sealed(from_bob("ec"), to=people().alice_ec, cipher=CBC),
                 sealed(from_bob("bare"), cipher=CBC, sign=None), signed(from_bob("beside"), by=bob),
                 signed(from_bob("inside"), by=bob, sign=opaque),
                 sealed(from_bob("others"), to=people().carol), around(from_bob("triple"), detached(enveloped(
                     opaque(entity_of(from_bob("triple"))))))]
        self.begin_with(*kinds)
        own = corpus.html_with_attachments()
        with self.imap() as client:
            client.append("INBOX", None, None, own)
        first, facts = self.views(), self.facts()
        late = sealed(from_bob("late"), by=bob)
        self.assertLess(time.time(), until)
        for uid in (2, 3, 6, 7):
            self.check_verdict(first[uid], signature="good", signer=BOB, trust="full")
        for uid in (2, 3, 4, 9):
            self.check_verdict(first[uid], encryption="smime", integrity="ok", signature="good")
        self.check_verdict(first[5], encryption="smime", integrity="none", signature="none")
        self.check_verdict(first[8], encryption="failed", signature="none")
        self.assertEqual(sum(corpus.CANARY in view for view in first.values()), len(kinds) - 1 + 1)
        self.assertEqual(first[10], own)
        self.assertIn(b"pkcs7-mime", self.server.mail()[9][1])
        for name, lose in (("restart", self.restart), ("kill", lambda: (self.proxy.kill(), self.proxy.start())),
                           ("views", self.lose_views), ("clear", lambda: self.command("store", "clear")),
                           ("keys", self.lose_keys), ("dates", lambda: self.outlive(until))):
            with self.subTest(lost=name):
                lose()
                self.assertEqual(self.facts(), facts)
                self.assertEqual(self.views(), first)
        # What comes now is judged now.
        self.server.put(late, signed(from_bob("late"), by=bob))
        after = self.views()
        self.check_verdict(after[11], encryption="failed")
        self.check_verdict(after[12], signature="expired")
        self.assertEqual({uid: after[uid] for uid in first}, first)
        self.assertEqual([content for _, content in self.server.mail()][:len(kinds)], kinds)

    def lose_keys(self):
        for pair in (people().alice, people().alice_ec):
            self.command("key", "delete", self.fingerprint(pair), "--yes", "--secret")
        self.lose_views()

    def outlive(self, until):
        wait_for(lambda: time.time() > until + 1, "the end of a certificate", LIFE_S + 5)
        self.lose_views()


class Saved(Smime):
    """What is saved comes back as it was, whoever vouches for the certificate, or nobody does."""

    def check_saved(self, account):
        message = corpus.html_with_attachments()
        self.begin_with(account=account)
        with self.imap() as client:
            self.assertEqual(client.append("INBOX", None, None, message)[0], "OK")
        self.assertEqual(list(self.views().values()), [message])
        self.assertNotIn(corpus.CANARY, self.server.all_mail())

    def test_without_anchors(self):
        self.check_saved("")

    def test_with_other_anchors(self):
        self.check_saved('    smime_ca = "%s"\n' % people().stranger.certificate)


class Reading(Smime):
    def test_in_chunks(self):
        """As Thunderbird downloads; each message is fetched and opened once."""
        text = "".join("line %d of the %s\n" % (number, corpus.WORD) for number in range(9000))
        kinds = [sealed(from_bob("gcm", text)), sealed(from_bob("cbc", text), cipher=CBC),
                 signed(from_bob("signed", text)), sealed(from_bob("bare", text), cipher=CBC, sign=None)]
        self.begin_with(*kinds)
        raw = self.raw()
        raw.ok("SELECT INBOX")
        for number in range(1, len(kinds) + 1):
            row, = [each for each in raw.ok("FETCH %d (RFC822.SIZE)" % number) if b"RFC822.SIZE" in each]
            size, pieces = int(re.search(rb"RFC822.SIZE (\d+)", row).group(1)), []
            while sum(map(len, pieces)) < size:
                answer, = raw.ok("UID FETCH %d (UID BODY.PEEK[]<%d.65536>)" % (number, sum(map(len, pieces))))
                pieces.append(answer.split(b"}\r\n", 1)[1][:-1])
            self.assertTrue(all(len(piece) == 65536 for piece in pieces[:-1]))
            self.assertEqual(b"".join(pieces).count(corpus.CANARY), 9000)
            self.assertEqual(len(b"".join(pieces)), size)
        self.assertEqual(self.server.wire().count(b"BODY.PEEK[])"), len(kinds))

    def test_searches(self):
        """What only the ciphertext holds is found; what only the CMS says is not."""
        self.begin_with(sealed(from_bob("one", "a dormouse")), sealed(from_bob("two", "a hatter"), cipher=CBC),
                        sealed(from_bob("three", "a dormouse"), cipher=CBC, sign=None),
                        signed(from_bob("four", "a dormouse"), sign=opaque),
                        sealed(from_bob("five", "a dormouse"), to=people().carol), from_bob("six", "a dormouse"))
        raw = self.raw()
        raw.ok("SELECT INBOX")
        for key, found in (("BODY dormouse", "1 3 4 6"), ("NOT BODY dormouse", "2 5"), ("TEXT hatter", "2"),
                           ("OR BODY hatter SUBJECT six", "2 6"),
                           ("HEADER Privyseal-Verdict encryption=smime", "1 2 3"),
                           ("HEADER Privyseal-Verdict failed", "5"), ("HEADER Content-Type pkcs7", "5")):
            self.assertEqual(raw.ok("SEARCH " + key), [("* SEARCH " + found).encode()], key)


class Refused(Smime):
    def test_damaged(self):
        """As it came, failed, all alike, and not a word of it."""
        text = "\n".join("line %d of the %s" % (number, corpus.WORD) for number in range(200))
        gcm, cbc = sealed(from_bob("gcm", text)), sealed(from_bob("cbc", text), cipher=CBC)
        bare = sealed(from_bob("bare", text), cipher=CBC, sign=None)
        failing = [damaged(gcm, flipped(-1)), damaged(gcm, flipped(-400)), damaged(gcm, lambda der: der[:-300]),
                   damaged(cbc, lambda der: der[:-300]), damaged(cbc, lambda der: der[:len(der) // 2]),
                   damaged(cbc, flipped(-1)), damaged(bare, flipped(-1)), damaged(gcm, lambda der: b"0" + der),
                   damaged(cbc, lambda der: b""), sealed(from_bob("others", text), to=people().carol)]
        self.begin_with(*failing, damaged(cbc, flipped(-900)))
        *views, changed = self.views().values()
        for message, view in zip(failing, views):
            self.check_verdict(view, encryption="failed", signature="none")
            self.assertNotIn(corpus.CANARY, view)
            self.assertTrue(view.endswith(message.split(b"\r\n\r\n", 1)[1]))
        self.assertEqual(len({verdict_of(view) for view in views}), 1)
        # A block in the middle is another one: no signature is good, and nothing but text is shown.
        self.assertNotIn(b"integrity=ok", verdict_of(changed))
        self.assertNotIn(b"signature=good", verdict_of(changed))

    def test_a_key_that_comes_later(self):
        self.begin_with(from_bob("before"), sealed(from_bob("late")), sealed(from_bob("others"), to=people().carol),
                        imports=False)
        first = self.views()
        self.check_verdict(first[2], encryption="failed")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.ok("STORE 2 +FLAGS.SILENT (\\Answered own)")
        import_own(self.proxy.config, *people().own())
        self.assertEqual(self.views(), first)
        self.assertIn("2 messages", self.command("store", "reopen"))
        self.raw().ok("SELECT INBOX")
        wait_for(lambda: len([row for row in raw.ok("NOOP") if b"EXPUNGE" in row]) > 0, "the old one's end")
        after = self.views()
        self.assertEqual(after[1], first[1])
        opened, = [view for view in after.values() if b"outer late" in view]
        self.check_verdict(opened, encryption="smime", signature="good")
        self.assertIn(corpus.CANARY, opened)
        self.restart()
        self.lose_views()
        self.assertEqual(self.views(), after)


class Remembered(Smime):
    def test_who_has_written_is_written_to(self):
        """A certificate that came with good mail is there for the answer, and stays; one that nobody vouches for is
        not."""
        self.alice(has_key=False)
        server, outgoing = RefImap(self), harness.RefServer(self)
        self.server = server
        self.proxy = harness.Proxy(self, outgoing, imap=server, rules=REQUIRED, account=smime_made.account())
        import_own(self.proxy.config, *people().own())
        self.alice().run("--yes", "--delete-keys", BOB)
        message = corpus.text()
        server.put(signed(from_bob("stranger"), by=people().mallory))
        self.check_verdict(self.views()[1], signature="untrusted")
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            self.proxy.send(message, [BOB])
        server.put(sealed(from_bob("sealed"), by=people().bob_ec))
        self.check_verdict(self.views()[2], signature="good", encryption="smime")
        for _ in range(2):
            self.proxy.send(message, [BOB])
            self.restart()
        for _, content in outgoing.mail():
            self.assertNotIn(corpus.CANARY, content)
            der = base64.b64decode(content.split(b"\r\n\r\n", 1)[1])
            inner = people().authority.run("cms", "-decrypt", "-inform", "DER", "-recip", people().bob_ec[0], "-inkey",
                                           people().bob_ec[1], data=der)
            self.assertIn(b"pkcs7-signature", inner)
            self.assertIn(corpus.CANARY, inner)
        self.assertEqual(len(outgoing.mail()), 2)
        self.assertNotIn(corpus.CANARY, outgoing.wire())


class BesideDovecot(DovecotCase):
    """With a server that many have, and what it says of a message's structure."""

    def test_types_and_names(self):
        who, entity = people(), entity_of(from_bob("inner"))
        self.begin_smime()
        cipher, text = smime_made.der_encrypted(opaque(entity)), smime_made.der_signed(entity, who.bob, "-nodetach")
        octets = b"Content-Type: application/octet-stream"
        opened = [
            (b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", cipher),
            (b"Content-Type: application/pkcs7-mime", cipher),
            (b"content-type: APPLICATION/X-PKCS7-MIME; NAME=\"SMIME.P7M\"", cipher),
            (b"Content-Type: application/x-pkcs7-mime; name=x", text),
            (b"Content-Type: application/pkcs7-mime; smime-type=signed-data", text),
            (octets + b"; name=smime.p7m", cipher), (octets + b"; name=\"Smime.P7M\"", text),
            (octets + b"\r\nContent-Disposition: attachment; filename=smime.p7m", cipher),
            (octets + b"\r\nContent-Disposition: attachment;\r\n filename*=utf-8''gr%C3%BC%C3%9Fe.p7m", cipher),
            (octets + b";\r\n name*0=\"smime.p\";\r\n name*1=\"7m\"", cipher),
            (octets + b"\r\nContent-Disposition: attachment; filename*=us-ascii''smime%2Ep7m", cipher),
            (octets + b";\r\n name*0*=us-ascii''smime.p;\r\n name*1*=7m", cipher),
            (octets + b"; name=smime.p7z", smime_made.compressed(opaque(entity))),
            (octets + b"; name=smime.p7s", text)]
        left = [(octets + b"; name=data.bin", cipher), (octets, cipher),
                (b"Content-Type: text/plain; name=a.txt", b"x"),
                (octets + b"; name=p7m", cipher)]
        rows = [around(from_bob("n%d" % number), kind + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
                       leaf(der).split(b"\r\n\r\n", 1)[1]) for number, (kind, der) in enumerate(opened + left)]
        rows += [signed(from_bob("beside"))]
        direct = self.talk(direct=True)
        for row in rows:
            direct.append("INBOX", row)
        talk = self.talk()
        talk.command(b"SELECT INBOX")
        fetched = []
        for number in range(1, len(rows) + 1):
            self.rawlog.mark()
            talk.command(b"FETCH %d (RFC822.SIZE)" % number)
            fetched += [number] if self.rawlog.bodies() > 0 else []
        # Names are told by their ends.
        self.assertEqual(fetched, [*range(1, len(opened) + 1), len(rows) - 1, len(rows)])
        views = [view for _, _, view in read(talk)]
        for number, (kind, _) in enumerate(opened):
            self.assertIn(b"signature=good", views[number][:500], kind)
            self.assertIn(corpus.CANARY, views[number])
        self.assertIn(b"signature=good", views[-1][:500])
        for number, (kind, _) in enumerate(left, len(opened)):
            self.assertEqual(views[number], rows[number], kind)

    def test_all_that_is_said_agrees(self):
        """Of a view there is said what Dovecot says of a message with these bytes."""
        made = [corpus.html_with_attachments(), corpus.forwarded(), from_bob("flat")]
        kinds = [make(message) for message in made for make in (
            sealed, signed, lambda each: sealed(each, cipher=CBC, sign=None), lambda each: sealed(each, sign=detached),
            lambda each: sealed(each, to=people().carol))]
        self.begin_smime()
        raw, direct = self.talk(), self.talk(direct=True)
        for message in kinds:
            direct.append("INBOX", message)
        views = [view for _, _, view in read(raw)]
        direct.command(b"CREATE Plain")
        for view in views:
            direct.append("Plain", view)
        direct.command(b"SELECT Plain")
        sections = b" ".join(b"BODY.PEEK[%s]" % part for part in (
            b"TEXT", b"1", b"1.MIME", b"2", b"2.MIME", b"1.1", b"1.2.MIME", b"2.HEADER", b"2.1", b"2.1.MIME",
            b"HEADER.FIELDS (Subject Content-Type)"))
        for items in (b"(RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY)", b"(%s)" % sections):
            self.assertEqual(answers(raw, b"FETCH 1:* " + items), answers(direct, b"FETCH 1:* " + items))

    def begin_smime(self):
        self.alice(has_key=False)
        self.server = Dovecot(options="protocol imap {\n  rawlog_dir = %h/rawlog\n}\n")
        self.add(self.server.close)
        self.rawlog = RawLog(self.server)
        self.proxy = harness.Proxy(self, None, imap=self.server, account=smime_made.account())
        import_own(self.proxy.config, *people().own())


if __name__ == "__main__":
    unittest.main()
