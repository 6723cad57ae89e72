#!/usr/bin/python3
"""neomutt with S/MIME of its own (openssl's commands) on the other side: Bob's mail is opened for Alice by IMAP, and
what Alice sends through privyseal he reads, decrypted and verified."""
import glob
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
from harness import ALICE, BOB  # noqa: E402
from imap_harness import RefImap, whole  # noqa: E402
from test_smime import VERDICT, Authority  # noqa: E402

RULE = 'rule all { encrypt = required  sign = always  format = smime }'
SECRET = b"the slithy toves"
# As Debian has them, but that "cms" verifies: to a file, since neomutt does not read what it prints.
SETTINGS = """
set smime_is_default crypt_use_gpgme=no smime_timeout=300 crypt_verify_sig=yes smime_ask_cert_label=no
set smime_default_key="bob.0" smime_sign_as="bob.0" smime_self_encrypt=no
set smime_ca_location="%(folder)s/ca.pem"
set smime_certificates="%(folder)s/certificates" smime_keys="%(folder)s/keys"
set smime_pk7out_command="openssl smime -verify -in %%f -noverify -pk7out"
set smime_get_cert_command="openssl pkcs7 -print_certs -in %%f"
set smime_get_signer_cert_command="openssl smime -verify -in %%f -noverify -signer %%c -out /dev/null"
set smime_get_cert_email_command="openssl x509 -in %%f -noout -email"
set smime_encrypt_with="aes256"
set smime_encrypt_command="openssl cms -encrypt -%%a -outform DER -in %%f %%c"
set smime_sign_digest_alg="sha256"
set smime_sign_command="openssl smime -sign -md %%d -signer %%c -inkey %%k -passin stdin -in %%f -outform DER"
set smime_decrypt_command="openssl cms -decrypt -passin stdin -inform DER -in %%f -inkey %%k -recip %%c"
set smime_verify_command="openssl cms -verify -inform DER -in %%s %%C -content %%f -out /dev/null"
set smime_verify_opaque_command="openssl cms -verify -inform DER -in %%s %%C"
set from="%(bob)s" realname="Bob" use_from=yes hostname=example.net copy=no wait_key=no quit=yes
set sendmail="%(folder)s/sendmail" mbox_type=Maildir folder="%(folder)s/mail" spoolfile="%(folder)s/mail"
set askcc=no abort_unmodified=no editor="cp %(folder)s/text" abort_nosubject=no
set pager="%(folder)s/pager" confirmappend=no delete=no mark_old=no pager_stop prompt_after=no
"""


class Neomutt:
    """Bob's, in a folder of its own. His keys are where smime_keys of neomutt would put them."""

    def __init__(self, folder, authority, certificate, key, known):
        """`known`: certificates by address."""
        self.folder = os.path.join(folder, "neomutt")
        for name in ("", "certificates", "keys", "mail", "mail/cur", "mail/new", "mail/tmp"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        self.copy(authority.certificate, "ca.pem")
        self.copy(certificate, "certificates/bob.0")
        self.copy(key, "keys/bob.0")
        rows = ["%s bob.0 bob ? t\n" % BOB]
        for number, (address, path) in enumerate(known.items()):
            self.copy(path, "certificates/other.%d" % number)
            rows.append("%s other.%d other ? t\n" % (address, number))
        self.write("certificates/.index", "".join(rows))
        self.write("keys/.index", rows[0])
        self.write("rc", SETTINGS % {"folder": self.folder, "bob": BOB})
        self.write("sendmail", "#!/bin/sh\nexec cat >%s/sent\n" % self.folder)
        os.chmod(os.path.join(self.folder, "sendmail"), 0o700)

        self.write("pager", "#!/bin/sh\nexec cp \"$1\" %s/shown\n" % self.folder)
        os.chmod(self.path("pager"), 0o700)

    def path(self, name):
        return os.path.join(self.folder, name)

    def copy(self, source, name):
        with open(source, encoding="ascii") as file:
            self.write(name, file.read())

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)

    def run(self, keys, *words):
        """On a terminal of its own. It takes pushed keys for all but a passphrase: an empty one is typed."""
        command = "neomutt -n -F %s -e 'push \"%s\"' %s" % (self.path("rc"), keys, " ".join(words))
        done = subprocess.run(["script", "--quiet", "--flush", "--return", "--command", command, self.path("screen")],
                              input=b"\n", capture_output=True, check=False, timeout=60,
                              env=self.environment())
        if done.returncode:
            raise AssertionError(done.stdout[-3000:])
        return done.stdout

    def send(self, *settings):
        """Typed, for in batch it protects nothing. Bob's key has no passphrase; it is asked for all the same."""
        self.write("text", SECRET.decode() + "\n")
        said = self.run("<mail>%s<enter>a letter<enter><send-message><quit>" % ALICE, "-f", self.path("mail"),
                        *["-e 'set %s'" % each for each in settings])
        if not os.path.exists(self.path("sent")):
            raise AssertionError(said[-3000:])
        with open(self.path("sent"), "rb") as file:
            return file.read()

    def environment(self):
        return dict(os.environ, TERM="vt100", HOME=self.folder, LC_ALL="C.UTF-8")

    def read(self, message):
        """What it shows of a message."""
        for path in glob.glob(self.path("mail/*/*")) + glob.glob(self.path("shown")):
            os.unlink(path)
        with open(self.path("mail/new/1.example"), "wb") as file:
            file.write(message.replace(b"\r\n", b"\n"))
        said = self.run("<display-message><quit>", "-f", self.path("mail"))
        if not os.path.exists(self.path("shown")):
            raise AssertionError(said[-3000:])
        with open(self.path("shown"), "rb") as file:
            return file.read()


class Both(harness.World):
    def setUp(self):
        super().setUp()
        authority = Authority(self.folder, "ca")
        alice, alice_key = authority.issue(ALICE, "alice")
        bob, bob_key = authority.issue(BOB, "bob")
        self.neomutt = Neomutt(self.folder, authority, bob, bob_key, {ALICE: alice})
        self.server, self.mailbox = harness.RefServer(self), RefImap(self, tls="none")
        self.proxy = harness.Proxy(self, self.server, imap=self.mailbox, rules=RULE, start=False,
                                   account='    smime_ca = "%s"' % authority.certificate)
        for words in (("--own", alice_key, alice), (bob,)):
            subprocess.run([harness.PRIVYSEAL, "key", "import", *words, "--config", self.proxy.config], check=True,
                           capture_output=True)
        self.proxy.start()

    def test_from_neomutt(self):
        for number, (how, expected) in enumerate((
                (("crypt_autosign",), ("good", "none")), (("crypt_autoencrypt",), ("none", "smime")),
                (("crypt_autosign", "crypt_autoencrypt"), ("good", "smime"))), 1):
            with self.subTest(how=how):
                sent = self.neomutt.send(*how)
                self.assertIn(b"signed" if len(how) == 1 and "sign" in how[0] else b"pkcs7-mime", sent)
                self.mailbox.put(sent.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
                with self.proxy.imap() as client:
                    client.select()
                    view = whole(client, number)
                words = dict(word.split("=", 1) for word in VERDICT.match(view).group(1).decode().replace(
                    "\r\n", "").replace("\t", " ").split("; "))
                self.assertEqual((words["signature"], words["encryption"]), expected, view)
                self.assertIn(SECRET, view)

    def test_to_neomutt(self):
        letter = (b"From: Alice <%s>\r\nTo: Bob <%s>\r\nSubject: a letter\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
                  b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n%s\r\n" % (
                      ALICE.encode(), BOB.encode(), SECRET))
        self.proxy.send(letter, [BOB])
        sealed = self.server.mail()[-1][1]
        self.assertNotIn(SECRET, self.server.wire())
        shown = self.neomutt.read(sealed)
        self.assertIn(SECRET, shown)
        for words in (b"S/MIME encrypted", b"data is signed", b"CMS Verification successful"):
            self.assertIn(words, shown)


if __name__ == "__main__":
    unittest.main()
