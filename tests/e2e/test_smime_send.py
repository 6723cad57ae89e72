"""One submission to people with certificates, with OpenPGP keys, with both and with neither: each copy is opened by the
tool that its reader has."""
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, DAVE
from smime_people import CURVE, ERIN, FRANK, REQUIRED, Case

GRACE, HENRY, ISABEL = "grace@example.edu", "henry@example.edu", "isabel@example.net"
MIXED = """rule "net" { to = { "*@example.net" }  encrypt = when-possible  sign = always  format = { smime, openpgp } }
rule "others" { encrypt = when-possible  sign = always  trust = unverified  format = { openpgp, smime } }"""


def letter(*visible, blind=()):
    """To the visible ones, and copied to others who are named in a Bcc field."""
    message = corpus.html_with_attachments().replace(
        b"To: Bob <%s>" % BOB.encode(), b"To: " + ",\r\n ".join("<%s>" % each for each in visible).encode())
    return message.replace(b"MIME-Version", b"Bcc: " + ", ".join(blind).encode() + b"\r\nMIME-Version", 1) if blind \
        else message


class Mixed(Case):
    def setUp(self):
        super().setUp()
        self.alice().take(harness.keys().export(DAVE))

    def check_openpgp(self, message, content, address, strangers):
        opened = corpus.Opened(content)
        self.assertTrue(opened.is_encrypted)
        data = opened.outer.get_payload(1).get_payload(decode=True)
        ids, keys = harness.keys().key_ids_of(data), harness.keys()
        self.assertTrue(ids & keys.encryption_key_ids(address))
        for stranger in strangers:
            self.assertFalse(ids & keys.encryption_key_ids(stranger))
        opened.decrypt()
        self.assertIn("GOODSIG", opened.status)
        self.assertIn("VALIDSIG %s" % keys.fingerprint(ALICE), opened.status)
        corpus.check_same(self, message, opened.inner)

    def test_every_kind_at_once(self):
        self.begin(MIXED)
        visible, blind = (BOB, ERIN, CAROL, GRACE, ISABEL), (FRANK, DAVE, HENRY)
        message = letter(*visible, blind=blind)
        copies = dict(self.arrived(message, visible + blind))
        self.assertEqual(set(copies), {frozenset(each) for each in (
            (BOB, ERIN), (FRANK,), (CAROL,), (DAVE,), (GRACE, HENRY), (ISABEL,))})
        for readers in ((BOB, ERIN), (FRANK,)):
            content = copies[frozenset(readers)]
            for address in readers:
                self.check_sealed(message, content, self.people[address])
            # And Alice's own, who could read what she has sent; nobody else.
            self.check_sealed(message, content, self.mine)
            self.assertEqual({address for address, person in self.people.items() if person.is_named_in(content)},
                             set(readers) | {ALICE})
        self.check_openpgp(message, copies[frozenset((CAROL,))], CAROL, (BOB, DAVE))
        self.check_openpgp(message, copies[frozenset((DAVE,))], DAVE, (BOB, CAROL))
        corpus.check_signed(self, message, copies[frozenset((GRACE, HENRY))], self.folder)
        self.check_signed(message, copies[frozenset((ISABEL,))])
        for content in copies.values():
            self.assertNotRegex(content, rb"(?mi)^bcc:")
            for address in blind:
                self.assertNotIn(address.encode(), content)
        self.assertEqual(len(self.server.mail()), len(copies))

    def test_two_blind_recipients(self):
        """Neither can tell that there is another."""
        self.begin(REQUIRED)
        message = letter(BOB)
        copies = dict(self.arrived(message, (BOB, ERIN, FRANK)))
        self.assertEqual(set(copies), {frozenset((each,)) for each in (BOB, ERIN, FRANK)})
        for (reader,), content in copies.items():
            self.check_sealed(message, content, self.people[reader])
            self.assertEqual({address for address, person in self.people.items() if person.is_named_in(content)},
                             {reader, ALICE})

    def test_the_order_of_formats(self):
        """Bob has both."""
        rule = 'rule "all" { encrypt = required  sign = always  trust = unverified  format = { %s } }'
        self.begin(rule % "smime, openpgp")
        message = letter(BOB)
        (_, content), = self.arrived(message, [BOB])
        self.check_sealed(message, content, self.people[BOB])
        self.proxy.stop()
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(self.proxy.text.replace("smime, openpgp", "openpgp, smime"))
        self.proxy.start()
        (_, content), = self.arrived(message, [BOB])
        self.check_openpgp(message, content, BOB, (CAROL, DAVE))
        # Who has no key in the first of them gets the second.
        (_, content), = self.arrived(letter(ERIN), [ERIN])
        self.check_sealed(letter(ERIN), content, self.people[ERIN])


class Forms(Case):
    """How a copy is signed and encrypted, by the account's options and by what is known of its readers."""

    def sealed(self, person, message=None):
        message = message or letter(person.address)
        (_, content), = self.arrived(message, [person.address])
        return self.check_sealed(message, content, person), content

    def takes_gcm(self, *people):
        for person in people:
            path = self.file_of(person)
            with open(path, encoding="ascii") as file:
                text = file.read()
            with open(path, "w", encoding="ascii") as file:
                file.write("Takes-GCM: yes\n" + text)

    def test_signed_only(self):
        rule = 'rule "all" { encrypt = never  sign = always  format = smime }'
        for number, (key, account, kind) in enumerate((
                (("rsa:2048",), "", "multipart/signed"), (CURVE, "    smime_sign = opaque", "application/pkcs7-mime"),
                (("rsa:2048",), "    smime_rsa = modern", "multipart/signed"))):
            with self.subTest(account=account):
                self.people.clear()
                self.begin(rule, account, others=(), key=key, server={"name": "s%d" % number})
                message = letter(GRACE)
                (_, content), = self.arrived(message, [GRACE])
                outer = self.check_signed(message, content)
                self.assertEqual(outer.get_content_type(), kind)
                if kind == "multipart/signed":
                    self.assertEqual((outer.get_param("protocol"), outer.get_param("micalg")),
                                     ("application/pkcs7-signature", "sha-256"))
                    printed = self.authority.run("cms", "-cmsout", "-print", "-noout", "-inform", "DER",
                                                 data=outer.get_payload(1).get_payload(decode=True)).decode()
                    self.assertEqual("rsassaPss" in printed, "modern" in account)
                else:
                    self.assertEqual(outer.get_param("smime-type"), "signed-data")
                self.proxy.stop()

    def test_gcm_where_all_read_it(self):
        self.begin()
        bob, erin = self.people[BOB], self.people[ERIN]
        self.takes_gcm(bob)
        outer, content = self.sealed(bob)
        self.assertEqual(outer.get_param("smime-type"), "authEnveloped-data")
        self.assertIn("aes-256-gcm", self.algorithms(content))
        outer, content = self.sealed(erin)
        self.assertEqual(outer.get_param("smime-type"), "enveloped-data")
        self.assertIn("aes-256-cbc", self.algorithms(content))
        message = letter(BOB, ERIN)
        (_, content), = self.arrived(message, [BOB, ERIN])
        outer = self.check_sealed(message, content, bob)
        self.check_sealed(message, content, erin)
        self.assertEqual(outer.get_param("smime-type"), "enveloped-data")

    def test_by_option(self):
        for number, (account, kind) in enumerate((("gcm", "authEnveloped-data"), ("cbc", "enveloped-data"))):
            with self.subTest(account=account):
                self.begin(account="    smime_cipher = %s\n    smime_sign = opaque\n    smime_rsa = modern" % account,
                           server={"name": "s%d" % number}, others=(BOB,))
                self.takes_gcm(self.people[BOB])
                outer, _ = self.sealed(self.people[BOB])
                self.assertEqual(outer.get_param("smime-type"), kind)
                self.proxy.stop()

    def test_cbc_lies_around_a_signature(self):
        """What is not to be signed is encrypted so that no change of it goes unnoticed, whatever the option says."""
        rule = 'rule "all" { encrypt = required  sign = never  format = smime }'
        for number, account in enumerate(("auto", "cbc")):
            with self.subTest(account=account):
                self.begin(rule, "    smime_cipher = " + account, others=(BOB,), server={"name": "s%d" % number})
                message = letter(BOB)
                (_, content), = self.arrived(message, [BOB])
                self.assertEqual(corpus.read(content).get_param("smime-type"), "authEnveloped-data")
                inner = corpus.read(self.people[BOB].decrypt(content))
                corpus.check_same(self, message, inner)
                self.assertEqual(inner.get_param("hp"), "cipher")
                self.proxy.stop()

    def test_every_kind_of_message(self):
        """Whatever a mail program sends comes out as it went in, to RSA and its old key transport."""
        self.person(ERIN, key=("rsa:2048",))
        self.begin(key=("rsa:2048",), others=(ERIN,))
        for kind, message in corpus.all_messages():
            if kind == "big":
                continue
            with self.subTest(kind=kind):
                self.sealed(self.people[ERIN], message.replace(b"Bob <%s>" % BOB.encode(), b"<%s>" % ERIN.encode()))


if __name__ == "__main__":
    unittest.main()
