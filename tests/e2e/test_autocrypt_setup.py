"""The Autocrypt setup message: a key goes from one installation to another under its code, and plain gpg reads it."""
import email
import os
import re
import subprocess
import unittest

import harness
import terminal
from harness import ALICE, PRIVYSEAL, World


class Setup(World):
    def command(self, proxy, *arguments, code=None):
        """Exit status, standard output, standard error."""
        options, read = [], None
        if code is not None:
            read, write = os.pipe()
            os.write(write, code + b"\n")
            os.close(write)
            options = ["--passphrase-fd", str(read)]
        done = subprocess.run([PRIVYSEAL, *arguments, *options, "--config", proxy.config], capture_output=True,
                              check=False, pass_fds=[read] if read is not None else [], stdin=subprocess.DEVNULL)
        if read is not None:
            os.close(read)
        return done.returncode, done.stdout, done.stderr

    def proxy(self, home):
        proxy = harness.Proxy(self, harness.RefServer(self, name="s%d" % self.count()), start=False)
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write(proxy.text.replace(self.alice().home, home.home))
        return proxy

    def make(self):
        status, message, words = self.command(self.proxy(self.alice()), "key", "export", "--autocrypt-setup", ALICE)
        self.assertEqual(status, 0, words)
        [code] = re.findall(rb"^ +((?:\d{4}-){8}\d{4})$", words, re.M)
        self.assertNotIn(code, message)
        return message, code

    def other(self):
        home = harness.Gpg(os.path.join(self.folder, "o%d" % self.count()))
        self.add(home.close)
        return home

    def test_from_one_to_another(self):
        message, code = self.make()
        path = os.path.join(self.folder, "setup.eml")
        with open(path, "wb") as file:
            file.write(message)
        home = self.other()
        proxy = self.proxy(home)
        wrong = code[:-1] + (b"1" if code[-1:] == b"0" else b"0")
        status, _, words = self.command(proxy, "key", "import", path, code=wrong)
        self.assertEqual(status, 1)
        self.assertIn(b"setup code", words)
        self.assertEqual(home.run("--list-secret-keys").stdout, b"")
        # Spaces for dashes: digits are what counts.
        status, said, words = self.command(proxy, "key", "import", path, code=code.replace(b"-", b" "))
        self.assertEqual(status, 0, words)
        self.assertIn(b"yours", said)
        self.assertEqual(home.fingerprint(ALICE), self.alice().fingerprint(ALICE))
        self.assertIn(b"sec", home.run("--list-secret-keys").stdout)

    def test_the_specification(self):
        message, code = self.make()
        parsed = email.message_from_bytes(message)
        self.assertEqual(parsed["Autocrypt-Setup-Message"], "v1")
        self.assertEqual((parsed["From"], parsed["To"]), ("<%s>" % ALICE, "<%s>" % ALICE))
        self.assertEqual(parsed.get_content_type(), "multipart/mixed")
        first, second = parsed.get_payload()
        self.assertEqual(first.get_content_maintype(), "text")
        self.assertEqual(second.get_content_type(), "application/autocrypt-setup")
        self.assertEqual(second.get_content_disposition(), "attachment")
        content = second.get_payload(decode=True)
        self.assertIn(b"Passphrase-Format: numeric9x4\r\nPassphrase-Begin: " + code[:2] + b"\r\n", content)
        armour = re.search(rb"-----BEGIN PGP MESSAGE-----.*-----END PGP MESSAGE-----", content, re.S).group(0)
        done = self.other().run("--pinentry-mode", "loopback", "--passphrase", code.decode(), "--decrypt", data=armour)
        self.assertRegex(done.stdout, rb"^-----BEGIN PGP PRIVATE KEY BLOCK-----\r?\nAutocrypt-Prefer-Encrypt: mutual")
        self.assertIn(b"DECRYPTION_INFO 2 ", done.stderr)  # its integrity is protected
        self.assertRegex(done.stderr, rb"DECRYPTION_INFO 2 [79]")  # by AES-128 or AES-256

    def test_what_is_none(self):
        message, code = self.make()
        for number, (wrong, with_words) in enumerate((
                (message.replace(b"application/autocrypt-setup", b"application/octet-stream"), b"damaged"),
                (re.sub(rb"-----END PGP MESSAGE-----", b"", message), b"damaged"),
                (self.to_alice(message), b"damaged"))):
            path = os.path.join(self.folder, "wrong%d.eml" % number)
            with open(path, "wb") as file:
                file.write(wrong)
            status, _, words = self.command(self.proxy(self.alice()), "key", "import", path, code=code)
            self.assertEqual(status, 1, words)
            self.assertIn(with_words, words)

    def holding(self, *names, revoked=(), after=b""):
        """A message and its code, as a stranger makes them: a key that has these names, and `after` behind it."""
        message, code = self.make()
        gpg = self.other()
        loopback = ("--pinentry-mode", "loopback", "--passphrase")
        gpg.run(*loopback, "", "--quick-gen-key", names[0], "ed25519", "default", "never")
        fingerprint = gpg.fingerprint(names[0].partition("<")[2].rstrip(">"))
        for name in names[1:]:
            gpg.run(*loopback, "", "--quick-add-uid", fingerprint, name)
        for name in revoked:
            gpg.run(*loopback, "", "--quick-revoke-uid", fingerprint, name)
        secret = gpg.run(*loopback, "", "--armor", "--export-secret-keys").stdout
        armour = gpg.run(*loopback, code.decode(), "--armor", "--cipher-algo", "AES256", "--symmetric",
                         data=secret + after)
        path = os.path.join(self.folder, "made%d.eml" % self.count())
        with open(path, "wb") as file:
            file.write(re.sub(rb"-----BEGIN PGP MESSAGE-----.*-----END PGP MESSAGE-----",
                              lambda _: armour.stdout.strip(), message, flags=re.S))
        return path, code, fingerprint

    def test_a_strangers_message_makes_no_key_ones_own(self):
        """He sends it with its code, and hopes that she types it."""
        home = self.other()
        proxy = self.proxy(home)
        for path, code, fingerprint in (
                self.holding("Mallory <mallory@evil.example>"),
                self.holding("Mallory <mallory@evil.example>", "Alice <%s>" % ALICE, revoked=["Alice <%s>" % ALICE])):
            status, _, words = self.command(proxy, "key", "import", path, code=code)
            self.assertEqual(status, 1, words)
            self.assertRegex(words.decode(), r"%s of .* has no valid user ID with an address of %s; expected \"yes\", "
                                             r"or --own if you made" % (fingerprint, ALICE))
            self.assertEqual(home.run("--list-keys").stdout, b"")
        status, said, words = self.command(proxy, "key", "import", "--own", path, code=code)
        self.assertEqual((status, b"yours" in said), (0, True), words)

    def test_what_stands_after_the_key_is_left_out(self):
        """It would come in with a key that she was asked about."""
        home = self.other()
        path, code, fingerprint = self.holding("Alice <%s>" % ALICE, after=harness.keys().export_secret(harness.CAROL))
        status, _, words = self.command(self.proxy(home), "key", "import", path, code=code)
        self.assertEqual(status, 0, words)
        listed = home.run("--list-keys").stdout
        self.assertIn(fingerprint.encode(), listed)
        self.assertNotIn(harness.keys().fingerprint(harness.CAROL).encode(), listed)

    def test_a_message_does_not_take_an_own_keys_place(self):
        """With her address in it: it would be the later one, and mail to her would be sealed to it."""
        home = self.other()
        proxy = self.proxy(home)
        status, said, _ = self.command(proxy, "key", "make", "--no-passphrase")
        self.assertEqual(status, 0)
        own = home.fingerprint(ALICE)
        path, code, fingerprint = self.holding("Alice <%s>" % ALICE)
        status, said, words = self.command(proxy, "key", "import", path, code=code)
        self.assertEqual((status, said), (1, b""))
        self.assertIn(b"the key %s would be yours beside %s; expected" % (fingerprint.encode(), own.encode()), words)
        self.assertNotIn(fingerprint.encode(), home.run("--list-keys").stdout)
        answers = [code.decode(), "yes"]
        said, status = terminal.run([PRIVYSEAL, "key", "import", path, "--config", proxy.config], answers=answers)
        self.assertEqual(status, 0, said)
        self.assertIn("Did you make it yourself?", said)
        self.assertIn(fingerprint.encode(), home.run("--list-secret-keys").stdout)
        # The same one once more is no other.
        self.assertEqual(self.command(proxy, "key", "import", path, code=code)[0], 0)

    def to_alice(self, message):
        """What is encrypted to her key opens without the code, and comes from anybody."""
        key = self.alice().export_secret(ALICE)
        self.assertIn(b"-----BEGIN PGP PRIVATE KEY BLOCK-----", key)  # nothing else is wrong with it
        armour = self.alice().run("--armor", "--trust-model", "always", "-r", ALICE, "--encrypt", data=key).stdout
        return re.sub(rb"-----BEGIN PGP MESSAGE-----.*-----END PGP MESSAGE-----", lambda _: armour.strip(), message,
                      flags=re.S)


if __name__ == "__main__":
    unittest.main()
