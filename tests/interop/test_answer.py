"""One answer: whom the proxy encrypts to where sources contradict each other or Autocrypt advises, and what `why` and
`key pin` say and do about it, while the proxy runs and while it does not."""
import json
import os
import smtplib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import corpus  # noqa: E402
import harness  # noqa: E402
from harness import ALICE, BOB, CAROL, World  # noqa: E402

TOLD = os.path.join(os.environ.get("BUILD", "build"), "tests", "peer_told")
DAY = 86400
RULES = 'rule "all" { encrypt = %s  sign = when-possible %s }'


class Case(World):
    def begin(self, encrypt="required", more="", start=True, **options):
        self.server = harness.RefServer(self, name="s%d" % self.count())
        self.proxy = harness.Proxy(self, self.server, rules=RULES % (encrypt, more), start=start, **options)

    def other(self):
        """Another key with Bob's address, in Alice's ring; its fingerprint."""
        gpg = harness.Gpg(os.path.join(self.folder, "other"))
        self.add(gpg.close)
        gpg.make(BOB)
        self.alice().take(gpg.export(BOB))
        self.others = gpg
        return gpg.fingerprint(BOB)

    def told(self, *words, data=b""):
        done = subprocess.run([TOLD, self.proxy.config, ALICE, *map(str, words)], input=data, capture_output=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), words)

    def says(self, source, fingerprint, trust="found", until=0):
        self.told("word", BOB, fingerprint, source, trust, int(time.time()) - 3 * DAY, until)

    def autocrypt(self, gpg, mutual):
        key = gpg.run("--export", BOB).stdout
        self.told("autocrypt", BOB, gpg.fingerprint(BOB), "mutual" if mutual else "nopreference",
                  int(time.time()) - 60, data=key)

    def command(self, *words, status=0):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], capture_output=True,
                              start_new_session=True, check=False)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        return done.stdout.decode(), done.stderr.decode()

    def json(self, *words, status=0):
        return json.loads(self.command(*words, "--json", status=status)[0])

    def message(self, address=BOB):
        self.number = getattr(self, "number", 0) + 1
        return corpus.header("m%d" % self.number).replace(BOB.encode(), address.encode()) + (
            b"\r\n%s\r\n" % corpus.CANARY)

    def refused(self, recipients=(BOB,)):
        """Code and text of the refusal; nothing has reached the server."""
        before = len(self.server.mail())
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
            self.proxy.send(self.message(), list(recipients))
        code, text = caught.exception.recipients[recipients[0]]
        self.assertEqual(len(self.server.mail()), before)
        self.assertNotIn(corpus.CANARY, self.server.wire())
        return code, text.decode()

    def sent(self, recipients=(BOB,)):
        """The key IDs that the last copy is encrypted to; none: it left in clear."""
        self.assertEqual(self.proxy.send(self.message(recipients[0]), list(recipients)), {})
        content = self.server.mail()[-1][1]
        if b"multipart/encrypted" not in content:
            self.assertIn(corpus.CANARY, content)
            return set()
        self.assertNotIn(corpus.CANARY, content)
        return harness.keys().key_ids_of(content[content.index(b"-----BEGIN PGP MESSAGE"):])


class Conflicts(Case):
    def test_required_stops_until_a_person_decides(self):
        self.begin()
        his, other = harness.keys().fingerprint(BOB), self.other()
        self.says("wkd", his)
        self.assertTrue(self.sent() & harness.keys().encryption_key_ids(BOB))
        self.says("dane", other)
        code, text = self.refused()
        self.assertEqual(code, 550)
        for word in ("5.7.5", BOB, his, other, "a Web Key Directory", "a signed zone (DANE)",
                     "privyseal key pin " + BOB):
            self.assertIn(word, text)
        why = self.json("why", BOB, status=1)
        self.assertEqual((why["result"], why["action"]), ("conflict", "refuse"))
        self.assertEqual({side["fingerprint"] for side in why["conflict"]}, {his, other})
        table = self.command("why", BOB, status=1)[0]
        for word in ("conflict", his, other, "key pin", "the signed zone of example.net, 3 days ago"):
            self.assertIn(word, table)
        # Nobody is asked without a terminal, and a short name is no confirmation.
        self.assertIn("--yes", self.command("key", "pin", BOB, other, status=1)[1])
        self.assertIn(other, self.command("key", "pin", "--yes", BOB, other[-16:], status=2)[1])
        self.assertIn("expected the fingerprint after", self.command("key", "pin", "--yes", BOB, CAROL, status=2)[1])
        self.assertEqual(self.refused()[0], 550)
        said = self.json("key", "pin", "--yes", BOB, other)
        self.assertEqual((said["fingerprint"], said["trust"]), (other, "pinned"))
        self.assertTrue(self.sent() & self.others.encryption_key_ids(BOB))
        why = self.json("why", BOB)
        self.assertEqual((why["key"]["fingerprint"], why["key"]["trust"], why["conflict"]), (other, "pinned", None))
        self.assertIn("person", [word["source"] for word in why["key"]["words"]])
        listed = {key["fingerprint"]: key for key in self.json("key", "list", BOB)}
        self.assertEqual([(listed[each]["trust"], listed[each]["source"]) for each in (his, other)],
                         [("found", "wkd"), ("pinned", "person")])
        self.assertIn("pinned", self.command("key", "show", other)[0])
        # He has changed his mind, and then takes it all back.
        self.command("key", "pin", "--yes", BOB, his)
        self.assertTrue(self.sent() & harness.keys().encryption_key_ids(BOB))
        self.command("key", "pin", "--remove", BOB)
        self.assertEqual(self.refused()[0], 550)
        self.command("key", "pin", "--remove", BOB, status=1)
        self.json("key", "pin", "--yes", "--not", BOB, other)
        self.assertTrue(self.sent() & harness.keys().encryption_key_ids(BOB))
        why = self.json("why", BOB)
        self.assertEqual({each["fingerprint"]: each["reason"] for each in why["candidates"]},
                         {his: "taken", other: "the person said that it is not theirs"})
        self.assertIn("passed over", self.command("why", BOB)[0])

    def test_when_possible_goes_on(self):
        self.begin("when-possible")
        his, other = harness.keys().fingerprint(BOB), self.other()
        self.says("mail", other, "seen")
        self.says("wkd", his)
        self.assertTrue(self.sent() & harness.keys().encryption_key_ids(BOB))
        warnings = [line for line in self.proxy.log().splitlines() if "two sources name different keys" in line]
        self.assertEqual(len(warnings), 1)
        self.assertIn(other, warnings[0])
        why = self.json("why", BOB)
        self.assertEqual((why["result"], why["action"]), ("ok", "sign-encrypt"))
        self.assertEqual([side["fingerprint"] for side in why["conflict"]], [his, other])
        reasons = {each["fingerprint"]: each["reason"] for each in why["candidates"]}
        self.assertEqual(reasons[other], "usable, but another source names another key")

    def test_a_message_that_asks(self):
        """At DATA, where RCPT could not know."""
        self.begin("when-possible")
        his, other = harness.keys().fingerprint(BOB), self.other()
        self.says("dane", other)
        self.says("wkd", his)
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            self.proxy.send(b"Privyseal: encrypt=required\r\n" + self.message(), [BOB])
        self.assertEqual(caught.exception.smtp_code, 550)
        self.assertIn(b"the message asks for encryption", caught.exception.smtp_error)
        self.assertIn(b"key pin", caught.exception.smtp_error)
        self.assertEqual(self.server.mail(), [])

    def test_pinned_without_the_proxy(self):
        self.begin(start=False)
        his, other = harness.keys().fingerprint(BOB), self.other()
        self.command("key", "list")  # makes the state's folders
        self.says("wkd", his)
        self.says("dane", other)
        self.assertEqual(self.json("why", BOB, status=1)["result"], "conflict")
        self.command("key", "pin", "--yes", BOB, "0x" + his)
        self.assertEqual(self.json("why", BOB)["key"]["fingerprint"], his)
        # A name that is not on the key, as mail programs without user IDs have it.
        self.assertIn("no name of it carries", self.command("key", "pin", "--yes", "bob@elsewhere.example", his)[0])
        self.assertEqual(self.json("why", "bob@elsewhere.example")["key"]["fingerprint"], his)
        self.proxy.start()
        self.assertTrue(self.sent() & harness.keys().encryption_key_ids(BOB))

    def test_wrong_words(self):
        self.begin(start=False)
        for words in ((BOB,), ("bob", "AB" * 20), (BOB, BOB), ("--remove", BOB, "AB" * 20), ("--remove", "--not", BOB)):
            self.command("key", "pin", "--yes", *words, status=2)
        self.command("key", "pin", "--yes", BOB, "AB" * 20, status=1)
        self.command("key", "pin", "--remove", BOB, status=1)
        mine = harness.keys().fingerprint(ALICE)
        self.command("key", "pin", "--yes", "--not", ALICE, mine, status=2)


class Words(Case):
    def between(self, change):
        """What the end of a message is told if the recipient is taken before the change."""
        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual(client.rcpt(BOB)[0], 250)
            change()
            told = client.data(self.message())
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.assertEqual(self.server.mail(), [])
        return told

    def test_taken_back_between_the_recipient_and_the_message(self):
        """That is for now: who tries again is answered by what the sources say then."""
        his, now = harness.keys().fingerprint(BOB), int(time.time())
        for encrypt in ("required", "when-possible"):
            with self.subTest(encrypt):
                self.begin(encrypt)
                self.says("wkd", his, until=now + DAY)
                code, text = self.between(lambda: self.says("wkd", ""))
                self.assertEqual((code, text[:5]), (451, b"4.7.5"), text)
                self.assertIn(BOB.encode(), text)
                if encrypt == "required":
                    self.assertEqual(self.refused()[0], 550)
                else:
                    self.assertEqual(self.sent(), set())
                self.proxy.stop()

    def test_ruled_out_by_a_person(self):
        self.begin()
        his = harness.keys().fingerprint(BOB)
        self.says("mail", his, "seen")
        self.command("key", "pin", "--yes", BOB, his)
        code, text = self.between(lambda: self.command("key", "pin", "--yes", "--not", BOB, his))
        self.assertEqual(code, 550)
        self.assertIn(b"the person said that it is not theirs", text)


class Autocrypt(Case):
    def test_as_it_recommends(self):
        self.begin("when-possible")
        self.autocrypt(harness.keys(), mutual=False)
        self.assertEqual(self.sent(), set())
        why = self.json("why", BOB)
        self.assertEqual((why["action"], why["key"]["trust"]), ("sign", "seen"))
        self.assertEqual(why["reason"], "there is a key, but neither asks for encryption")
        self.assertEqual((why["peer"]["received"], why["peer"]["autocrypt"]["advice"]), (1, "available"))
        table = self.command("why", BOB)[0]
        for word in ("neither asks for encryption", "an Autocrypt field, 1 minute ago", "messages", "1 received",
                     "first mail"):
            self.assertIn(word, table)
        # What asks for it gets it.
        self.assertEqual(self.proxy.send(b"Privyseal: encrypt=required\r\n" + self.message(), [BOB]), {})
        self.assertIn(b"multipart/encrypted", self.server.mail()[-1][1])

    def test_both_prefer_it(self):
        for preference in ("mutual", "nopreference"):
            with self.subTest(preference):
                self.begin("when-possible", account="    autocrypt = " + preference)
                self.autocrypt(harness.keys(), mutual=True)
                is_mutual = preference == "mutual"
                self.assertEqual(self.sent() != set(), is_mutual)
                self.assertEqual(self.json("why", BOB)["action"], "sign-encrypt" if is_mutual else "sign")
                self.proxy.stop()

    def test_a_forged_field_blocks_nobody(self):
        self.begin()
        his = harness.keys().fingerprint(BOB)
        self.other()
        self.says("wkd", his)
        self.autocrypt(self.others, mutual=True)
        self.assertTrue(self.sent() & harness.keys().encryption_key_ids(BOB))
        self.assertNotIn("two sources", self.proxy.log())
        self.assertIsNone(self.json("why", BOB)["conflict"])


MUST, MAY, STRICT = "must.example", "may.example", "strict.example"
BY_DOMAIN = """rule "must" { to = "*@must.example"  encrypt = required  trust = seen  sign = when-possible }
rule "strict" { to = "*@strict.example"  encrypt = required  sign = when-possible }
rule "may" { encrypt = when-possible  sign = when-possible }"""


class Same(Case):
    """`why` says what the proxy does, of two of whom either may be asked first."""

    def setUp(self):
        super().setUp()
        self.server = harness.RefServer(self, name="same")
        self.proxy = harness.Proxy(self, self.server, rules=BY_DOMAIN, options='sources = { "autocrypt" }')
        self.gpgs, self.now = {}, int(time.time())

    def key(self, which, address, **options):
        """Key `which` ("a", "b") of the address; its fingerprint."""
        if which not in self.gpgs:
            self.gpgs[which] = harness.Gpg(os.path.join(self.folder, "keys-" + which))
            self.add(self.gpgs[which].close)
        return self.gpgs[which].make(address, **options)

    def public(self, which, address):
        return self.gpgs[which].run("--export", "<%s>" % address).stdout

    def in_mail(self, which, address, kind="mutual", days=0, **options):
        """An Autocrypt field told it, `days` ago."""
        fingerprint = self.key(which, address, **options)
        self.told("autocrypt", address, fingerprint, kind, self.now - 60 - days * DAY, data=self.public(which, address))
        return fingerprint

    def by(self, which, address, source, until=0):
        """It is in the ring by the word of a source; and so is the other, if it is there."""
        fingerprint = self.key(which, address)
        self.alice().take(self.public(which, address))
        self.told("word", address, fingerprint, source, "found", self.now - 90 * DAY, until)
        return fingerprint

    def pin(self, address, fingerprint, *more):
        self.command("key", "pin", "--yes", *more, address, fingerprint)

    def mutual(self, address):
        self.in_mail("a", address)

    def no_preference(self, address):
        self.in_mail("a", address, "nopreference")

    def gossip(self, address):
        self.in_mail("a", address, "gossip")

    def gossip_beside(self, address):
        self.in_mail("a", address)
        self.in_mail("b", address, "gossip")

    def reset(self, address):
        self.in_mail("a", address, days=40)
        self.told("autocrypt", address, "", "none", self.now - 60)

    def beside_found(self, address):
        self.by("a", address, "wkd")
        self.in_mail("b", address)

    def pinned(self, address):
        fingerprint = self.key("a", address)
        self.alice().take(self.public("a", address))
        self.pin(address, fingerprint)
        self.in_mail("b", address)

    def expired(self, address):
        self.in_mail("a", address, at="20200101T000000", life="2d")

    def expired_with_gossip(self, address):
        self.expired(address)
        self.in_mail("b", address, "gossip")

    def revoked(self, address):
        fingerprint = self.key("a", address)
        self.gpgs["a"].take(self.gpgs["a"].revocation(fingerprint))
        self.told("autocrypt", address, fingerprint, "mutual", self.now - 60, data=self.public("a", address))

    def found_revoked(self, address):
        fingerprint = self.by("a", address, "wkd")
        self.gpgs["a"].take(self.gpgs["a"].revocation(fingerprint))
        self.alice().take(self.public("a", address))

    def conflict(self, address):
        self.by("a", address, "wkd")
        self.by("b", address, "dane")

    def ruled_out(self, address):
        fingerprint = self.in_mail("a", address)
        self.alice().take(self.public("a", address))
        self.pin(address, fingerprint, "--not")

    def stale(self, address):
        self.by("a", address, "wkd", until=self.now - DAY)
        self.in_mail("b", address)

    def unconfirmed(self, address):
        self.by("a", address, "wkd", until=self.now - 31 * DAY)
        self.in_mail("b", address)

    # Of a domain each: the key that is encrypted to; "-": it leaves in clear; a word: that is why it does not leave;
    # "": not asked, since it is refused as no-key.
    CASES = (
        # state, must, may, strict
        ("mutual", "a", "a", "no-key"),
        ("no_preference", "a", "-", ""),
        ("gossip", "a", "-", ""),
        ("gossip_beside", "a", "a", ""),
        ("reset", "a", "-", ""),
        ("beside_found", "a", "a", "a"),
        ("pinned", "a", "a", "a"),
        ("expired", "no-key", "-", ""),
        ("expired_with_gossip", "b", "-", ""),
        ("revoked", "no-key", "-", ""),
        ("found_revoked", "no-key", "key-unusable", "no-key"),
        ("conflict", "conflict", "ab", "conflict"),
        ("ruled_out", "no-key", "-", ""),
        ("stale", "a", "a", "a"),
        ("unconfirmed", "a", "a", "no-key"),
    )

    def asked(self, address):
        """Result, key and text as `why` has them."""
        done = subprocess.run([harness.PRIVYSEAL, "why", address, "--json", "--config", self.proxy.config],
                              capture_output=True, start_new_session=True, check=False)
        why = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if why["result"] == "ok" else 1, why)
        if why["result"] != "ok":
            return why["result"], None, why["detail"]
        is_sealed = why["action"] in ("encrypt", "sign-encrypt")
        return "ok", why["key"]["fingerprint"] if is_sealed else None, ""

    def done(self, address):
        """The same as the proxy does it."""
        before = len(self.server.mail())
        try:
            self.proxy.send(self.message(address), [address])
        except smtplib.SMTPRecipientsRefused as refused:
            code, text = refused.recipients[address]
            self.assertEqual((code, len(self.server.mail())), (550, before), text)
            return "refused", None, text.decode()
        content = self.server.mail()[-1][1]
        if b"multipart/encrypted" not in content:
            self.assertIn(corpus.CANARY, content)
            return "ok", None, ""
        self.assertNotIn(corpus.CANARY, content)
        ids = harness.keys().key_ids_of(content[content.index(b"-----BEGIN PGP MESSAGE"):])
        taken = [gpg.fingerprint(address) for gpg in self.gpgs.values()
                 if gpg.run("--list-keys", "<%s>" % address, check=False).returncode == 0
                 and ids & gpg.encryption_key_ids(address)]
        self.assertEqual(len(taken), 1)
        return "ok", taken[0], ""

    def test_why_and_mail(self):
        for number, (state, *expected) in enumerate(self.CASES):
            for domain, result in zip((MUST, MAY, STRICT), expected):
                if not result:
                    continue
                with self.subTest(state=state, domain=domain):
                    address = "%s@%s" % (state.replace("_", "-"), domain)
                    getattr(self, state)(address)
                    # Whoever is first imports what mail told.
                    order = (self.asked, self.done) if (number + len(result)) % 2 else (self.done, self.asked)
                    said = {way: way(address) for way in order}
                    why, mail = said[self.asked], said[self.done]
                    self.assertEqual(why[1], mail[1])
                    if why[0] != "ok" or "-" in result[1:]:
                        self.assertEqual((why[0], mail[0]), (result, "refused"))
                        self.assertIn(why[2], mail[2])
                    elif result == "-":
                        self.assertIsNone(why[1])
                    else:
                        self.assertIn(why[1], [self.gpgs[which].fingerprint(address) for which in result])
                        self.assertEqual(mail[0], "ok")


if __name__ == "__main__":
    unittest.main()
