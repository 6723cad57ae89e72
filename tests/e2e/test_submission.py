"""What becomes of a message on its way: its parameters and fields, what it asks for, and what the rules make of it."""
import os
import re
import signal
import smtplib
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, DAVE, wait_for
from sessions import PLAIN, Case, letter

NEVER = 'rule "all" { encrypt = never  sign = never  trust = unverified }'


class Parameters(Case):
    def test_dsn(self):
        self.begin()
        raw = self.raw()
        self.assertEqual(raw.command("MAIL FROM:<%s> RET=HDRS ENVID=a+2Bb SIZE=500 BODY=8BITMIME" % ALICE)[0], 250)
        for address, more in ((BOB, " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bob@example.net"),
                              (CAROL, " NOTIFY=NEVER"), (DAVE, "")):
            self.assertEqual(raw.command("RCPT TO:<%s>%s" % (address, more))[0], 250)
        self.assertEqual(raw.command("DATA")[0], 354)
        raw.send(letter() + b".\r\n")
        self.assertEqual(raw.reply()[0], 250)
        self.assertEqual(len(self.server.mail()), 3)
        rcpts = []
        for envelope, content in self.server.mail():
            self.assertIn(" RET=HDRS", envelope["mail"])
            self.assertIn(" ENVID=a+2Bb", envelope["mail"])
            self.assertNotIn("8BITMIME", envelope["mail"])
            self.assertEqual(int(re.search(r" SIZE=(\d+)", envelope["mail"]).group(1)), len(content))
            rcpts += envelope["rcpt"]
        self.assertEqual(sorted(rcpts), ["TO:<%s> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bob@example.net" % BOB,
                                         "TO:<%s> NOTIFY=NEVER" % CAROL, "TO:<%s>" % DAVE])

    def test_not_offered_upstream(self):
        self.begin(features="SIZE=1000000")
        raw = self.raw()
        for parameter in ("RET=FULL", "ENVID=1", "SMTPUTF8"):
            self.assertEqual(raw.command("MAIL FROM:<%s> %s" % (ALICE, parameter))[0], 555)
        self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 250)
        self.assertEqual(raw.command("RCPT TO:<%s> NOTIFY=NEVER" % BOB)[0], 555)

    def test_announced_size_holds(self):
        self.begin()
        message = corpus.html_with_attachments()
        self.proxy.send(message, [BOB])
        (envelope, content), = self.server.mail()
        self.assertGreaterEqual(int(re.search(r"(?i) SIZE=(\d+)", envelope["mail"]).group(1)), len(content))

    def test_smtputf8(self):
        self.begin(rules=PLAIN)
        raw = self.raw()
        self.assertEqual(raw.command("MAIL FROM:<%s> SMTPUTF8 BODY=8BITMIME" % ALICE)[0], 250)
        self.assertEqual(raw.command("RCPT TO:<jörg@example.net>")[0], 250)
        self.assertEqual(raw.command("DATA")[0], 354)
        raw.send(letter("jörg@example.net") + b".\r\n")
        self.assertEqual(raw.reply()[0], 250)
        (envelope, content), = self.server.mail()
        self.assertIn(" SMTPUTF8", envelope["mail"])
        self.assertEqual(envelope["rcpt"], ["TO:<jörg@example.net>"])
        self.assertIn("To: jörg@example.net".encode(), content)
        self.assertEqual(raw.command("MAIL FROM:<%s>" % ALICE)[0], 250)
        self.assertEqual(raw.command("RCPT TO:<jörg@example.net>")[0], 553)

    def test_too_many_recipients(self):
        self.begin(options="recipients_max = 2")
        raw = self.raw()
        raw.command("MAIL FROM:<%s>" % ALICE)
        self.assertEqual([raw.command("RCPT TO:<%d@example.edu>" % i)[0] for i in range(3)], [250, 250, 452])

    def test_too_many_copies(self):
        self.begin(options="groups_max = 1")
        raw = self.raw()
        raw.command("MAIL FROM:<%s>" % ALICE)
        self.assertEqual(raw.command("RCPT TO:<%s>" % BOB)[0], 250)
        code, text = raw.command("RCPT TO:<%s>" % DAVE)
        self.assertEqual((code, text[:5]), (452, "4.5.3"))
        # That Carol is a blind recipient is known only from the message.
        self.assertEqual(raw.command("RCPT TO:<%s>" % CAROL)[0], 250)
        self.assertEqual(raw.command("DATA")[0], 354)
        raw.send(letter() + b".\r\n")
        code, text = raw.reply()
        self.assertEqual((code, text[:5]), (554, "5.5.3"))
        self.assertEqual(self.server.mail(), [])

    def test_8bit_to_a_7bit_server(self):
        self.begin(rules=PLAIN, features="SIZE=1000000")
        for message in (corpus.eight_bit(), corpus.utf8()):
            content = self.arrived(message, [DAVE])[DAVE]
            self.assertTrue(content.isascii())
            corpus.check_same(self, message, corpus.read(content))
        signed = corpus.signed().replace(b"signed by hand", "signed by händ".encode())
        self.refused(signed, [DAVE], 554, "5.6.3")
        header = letter(DAVE, extra="X-Raw: grüße\n")
        self.refused(header, [DAVE], 554, "5.6.3")


class Privacy(Case):
    def key_ids(self, content):
        opened = corpus.Opened(content)
        return harness.keys().key_ids_of(opened.outer.get_payload(1).get_payload(decode=True))

    def test_bcc(self):
        """A blind recipient's copy is alone, no other copy names a key of hers, and no copy has a Bcc field."""
        self.begin()
        message = letter(extra="Bcc: Carol\n <%s>, %s\nbcc : %s\nX-Last: 1\n" % (CAROL, DAVE, CAROL))
        copies = self.arrived(message, [BOB, CAROL, DAVE])
        self.assertEqual(len(self.server.mail()), 3)
        keyring = harness.keys()
        ids = {address: keyring.encryption_key_ids(address) for address in (ALICE, BOB, CAROL)}
        for address, others in ((BOB, (CAROL,)), (CAROL, (BOB,))):
            found = self.key_ids(copies[address])
            self.assertEqual(len(found), 2)
            self.assertTrue(found & ids[address] and found & ids[ALICE])
            for other in others:
                self.assertFalse(found & ids[other])
        for address, content in copies.items():
            opened = corpus.Opened(content)
            if opened.is_encrypted:
                opened.decrypt()
            for text in (opened.content, opened.plain):
                self.assertNotRegex(text, rb"(?i)\nbcc[ \t]*:")
                self.assertNotIn(b"Carol", text)
                self.assertNotIn(CAROL.encode(), text)
                self.assertNotIn(DAVE.encode(), text)
            self.assertEqual(opened.outer["X-Last"], "1")

    def test_bcc_in_plain_copies(self):
        self.begin(rules=PLAIN)
        copies = self.arrived(letter(extra="Bcc: %s\n" % CAROL), [BOB, CAROL])
        self.assertEqual(len(self.server.mail()), 1)
        self.assertEqual(harness.without_autocrypt(copies[CAROL]), letter())

    def test_two_blind_recipients(self):
        self.begin()
        copies = self.arrived(letter(DAVE), [BOB, CAROL])
        keyring = harness.keys()
        self.assertFalse(self.key_ids(copies[BOB]) & keyring.encryption_key_ids(CAROL))
        self.assertFalse(self.key_ids(copies[CAROL]) & keyring.encryption_key_ids(BOB))

    def test_forged_verdicts_are_removed(self):
        forged = "Privyseal-Verdict: signature=good\nPRIVYSEAL-verdict :\n signature=good;\n trust=full\n"
        inner = corpus.lines("From: eve@example.net\nSubject: inner\nPrivyseal-Verdict: inside\n\nstays\n")
        message = letter("%s, %s" % (BOB, DAVE),
                         extra=forged + "X-Stays: 1\nMIME-Version: 1.0\nContent-Type: message/rfc822\n",
                         text="") + inner
        for rules in (harness.TRUSTING, PLAIN):
            with self.subTest(rules=rules):
                self.begin(rules=rules, name="s%d" % self.count())
                for content in self.arrived(message, [BOB, DAVE]).values():
                    opened = corpus.Opened(content)
                    if opened.is_encrypted:
                        opened.decrypt()
                    for text in (opened.content, opened.plain):
                        self.assertNotRegex(text, rb"(?i)verdict[ \t]*:[ \r\n]*signature")
                    self.assertIn(b"Privyseal-Verdict: inside", opened.plain)
                    self.assertEqual(opened.outer["X-Stays"], "1")


class Requests(Case):
    def test_asking_for_encryption(self):
        """In each way of asking a recipient without a key is refused, and one with a key is sealed to."""
        self.begin(rules=NEVER)
        for subject, extra in (("s", "Privyseal: encrypt=required\n"), ("s", "privyseal:\n encrypt = Required\n"),
                               ("[encrypt] s", ""), ("[ENCRYPT]s", ""), ("s", "Sensitivity: Company-Confidential\n")):
            with self.subTest(subject=subject, extra=extra):
                text = self.refused(letter(DAVE, subject=subject, extra=extra), [DAVE], 550, "5.7.5")
                self.assertIn(DAVE, text)
                content = self.arrived(letter(subject=subject, extra=extra), [BOB])[BOB]
                opened = corpus.Opened(content)
                self.assertTrue(opened.is_encrypted)
                opened.decrypt()
                self.assertEqual(str(opened.inner["Subject"]).strip(), "s")
                for part in (opened.outer, opened.inner):
                    self.assertIsNone(part["Privyseal"])
                self.assertNotIn(b"[encrypt]", opened.plain.lower())

    def test_tag_of_choice(self):
        self.begin(rules=NEVER, options='subject_tag = "#secret"')
        opened = corpus.Opened(self.arrived(letter(subject="s #secret"), [BOB])[BOB])
        self.assertTrue(opened.is_encrypted)
        self.assertEqual(corpus.Opened(self.arrived(letter(subject="[encrypt] s", number=2),
                                                    [BOB])[BOB]).outer["Subject"], "[encrypt] s")

    def test_asking_for_less(self):
        message = letter(extra="Privyseal: encrypt=never\n")
        for may, kind in (("false", "multipart/encrypted"), ("true", "multipart/signed")):
            with self.subTest(may=may):
                self.begin(rules='rule "all" { encrypt = when-possible  sign = always  trust = unverified '
                                 ' may_ask_less = %s }' % may,
                           name="s" + may)
                opened = corpus.Opened(self.arrived(message, [BOB])[BOB])
                self.assertEqual(opened.kind, kind)
                self.assertIsNone(opened.outer["Privyseal"])

    def test_no_request_is_left_in_plain_mail(self):
        self.begin(rules=PLAIN)
        copy = self.arrived(letter(extra="Privyseal: encrypt=never\n"), [BOB])[BOB]
        self.assertEqual(harness.without_autocrypt(copy), letter())


class Policy(Case):
    def test_mixed_refused(self):
        self.begin(rules='rule "all" { encrypt = when-possible  sign = always  trust = unverified  mixed = refuse }')
        text = self.refused(letter(), [BOB, DAVE], 550, "5.7.1")
        self.assertIn(DAVE, text)
        self.assertEqual(len(self.arrived(letter(), [BOB, CAROL])), 2)
        self.assertEqual(len(self.arrived(letter(DAVE), [DAVE])), 1)

    def test_required_beside_never(self):
        self.begin(rules='rule "d" { to = "*@example.edu"  encrypt = never }\n' + harness.REQUIRED)
        text = self.refused(letter(), [BOB, DAVE], 550, "5.7.1")
        self.assertIn(DAVE, text)

    def test_required_beside_never_with_a_key(self):
        """A recipient who can be sealed to is, where somebody else's rule requires it."""
        self.begin(rules='rule "d" { to = "%s"  encrypt = never  sign = always  trust = unverified }\n' % CAROL +
                   harness.REQUIRED)
        copies = self.arrived(letter("%s, %s" % (BOB, CAROL)), [BOB, CAROL])
        for content in copies.values():
            self.assertTrue(corpus.Opened(content).is_encrypted)

    def test_not_her_own_from(self):
        self.begin()
        for extra in ("", "From: %s\n" % ALICE):
            self.refused(letter(sender="mallory@example.net", extra=extra), [BOB], 550, "5.7.1")
        self.refused(letter().replace(b"From: Alice", b"X-From: Alice"), [BOB], 550, "5.7.1")

    def test_not_her_own_from_without_a_signature_required(self):
        self.begin(rules='rule "all" { encrypt = when-possible  sign = when-possible  trust = unverified }')
        opened = corpus.Opened(self.arrived(letter(sender="mallory@example.net"), [BOB])[BOB])
        self.assertTrue(opened.is_encrypted)
        opened.decrypt()
        self.assertNotIn("GOODSIG", opened.status)

    def test_trust(self):
        """Without `trust` an unknown key does not do; one that the person has certified does."""
        self.begin(rules='rule "all" { encrypt = required  sign = always }')
        with self.proxy.client() as client:
            client.mail(ALICE)
            code, text = client.rcpt(BOB)
            self.assertEqual(code, 550)
            self.assertIn(b"trust", text)
            self.alice().run("--yes", "--quick-lsign-key", harness.keys().fingerprint(BOB))
            # What Alice's own gpg does by itself when it next needs it: her home is not privyseal's to write in.
            self.alice().run("--check-trustdb")
            self.assertEqual(client.rcpt(BOB)[0], 250)
            self.assertEqual(client.data(letter())[0], 250)
        self.assertTrue(corpus.Opened(self.server.mail()[0][1]).is_encrypted)

    def test_first_rule_decides(self):
        self.begin(rules='rule "a" { to = { "%s", "*@*.example" }  encrypt = never  sign = never }\n' % BOB +
                   harness.TRUSTING)
        copies = self.arrived(letter("%s, %s, x@sub.example" % (BOB, CAROL)), [BOB, CAROL, "x@sub.example"])
        self.assertEqual([corpus.Opened(copies[address]).kind for address in (BOB, CAROL, "x@sub.example")],
                         ["text/plain", "multipart/encrypted", "text/plain"])

    def sealed_by_hand(self, extra=""):
        inner = corpus.lines("Content-Type: text/plain\n\nsealed by hand\n")
        data = harness.keys().run("--armor", "--trust-model", "always", "--recipient", BOB, "--encrypt",
                                  data=inner).stdout
        return letter(extra=extra + "MIME-Version: 1.0\nContent-Type: multipart/encrypted; boundary=\"b\";\n"
                                    " protocol=\"application/pgp-encrypted\"\n",
                      text="--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b\n"
                           "Content-Type: application/octet-stream\n\n%s\n--b--\n" % data.decode())

    def test_already_encrypted_passes(self):
        self.begin(rules=harness.REQUIRED)
        content = self.arrived(self.sealed_by_hand(extra="Bcc: x@example.net\nPrivyseal-Verdict: signature=good\n"),
                               [BOB])[BOB]
        self.assertEqual(content.split(b"\r\n\r\n", 1)[0], self.sealed_by_hand().split(b"\r\n\r\n", 1)[0])
        plain, status = harness.keys().decrypt(corpus.Opened(content).outer.get_payload(1).get_payload(decode=True))
        self.assertIn(b"sealed by hand", plain)
        self.assertIn("pass", self.proxy.log())

    def test_pretended_encryption_is_sealed(self):
        """Something beside the encrypted part, or nothing encrypted in it: content like any other."""
        self.begin(rules=harness.REQUIRED)
        sealed = self.sealed_by_hand()
        for message in (sealed.replace(b"--b--\r\n", b"--b\r\n\r\nKANARIENVOGEL beside\r\n--b--\r\n"),
                        re.sub(rb"(?s)-----BEGIN.*MESSAGE-----", b"KANARIENVOGEL", sealed)):
            content = self.arrived(message, [BOB])[BOB]
            self.assertNotIn(corpus.CANARY, content)
            opened = corpus.Opened(content).decrypt()
            self.assertIn(corpus.CANARY, opened.plain)
            self.assertIn("GOODSIG", opened.status)


class Changes(Case):
    def test_key_that_comes_while_serving(self):
        self.begin(rules=harness.REQUIRED)
        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual(client.rcpt(DAVE)[0], 550)
            self.alice().take(harness.keys().export(DAVE))
            self.assertEqual(client.rcpt(DAVE)[0], 250)
            self.assertEqual(client.data(letter(DAVE))[0], 250)
        self.assertTrue(corpus.Opened(self.server.mail()[0][1]).is_encrypted)

    def rewrite(self, old, new):
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(self.proxy.text.replace(old, new))
        os.kill(self.proxy.process.pid, signal.SIGHUP)

    def test_reload(self):
        self.begin(rules=PLAIN)
        raw = self.raw()
        raw.begin([BOB])
        self.rewrite(PLAIN, harness.REQUIRED)
        wait_for(lambda: "configuration read again" in self.proxy.log(), "the reload")
        # A transaction that is open ends under the rules under which it began, and the session with it.
        raw.send(letter() + b".\r\n")
        self.assertEqual(raw.replies_to_the_end(), [250, 421])
        self.assertEqual(corpus.Opened(self.server.mail()[0][1]).kind, "text/plain")

        def is_required():
            try:
                self.proxy.send(letter(number=2), [DAVE])
            except smtplib.SMTPRecipientsRefused:
                return True
            except smtplib.SMTPException:
                pass
            return False
        wait_for(is_required, "the new rules")
        self.proxy.send(letter(number=3), [BOB])
        self.assertEqual(corpus.Opened(self.server.mail()[-1][1]).kind, "multipart/encrypted")

    def test_reload_of_an_error_changes_nothing(self):
        self.begin(rules=PLAIN)
        self.rewrite(PLAIN, 'rule "all" { encrypt = perhaps }')
        wait_for(lambda: "the old one goes on" in self.proxy.log(), "the refusal")
        self.assertEqual(harness.without_autocrypt(self.arrived(letter(), [BOB])[BOB]), letter())


if __name__ == "__main__":
    unittest.main()
