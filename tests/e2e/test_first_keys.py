"""docs/guides/first-keys.md, typed at a terminal as it stands there: what is shown must be what the guide shows, but
for fingerprints, dates and folders. What happens between the commands stands in comments of the guide.

To write what is shown into the guide: python3 test_first_keys.py --write
"""
import os
import re
import shutil
import sys
import tempfile
import unittest

import harness
import netspace
import terminal
import test_sources
from harness import Gpg, World

GUIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "guides", "first-keys.md")
BOB, HOST, COLUMNS = "bob@example.net", "openpgpkey.example.net", 96
PASSPHRASE = "down the rabbit hole"
CONFIG = """account "alice@example.org" {
    smtp = "smtps://smtp.example.org"
    imap = "imaps://imap.example.org"
}
listen smtp { at = "127.0.0.1:1025" }
listen imap { at = "127.0.0.1:1143" }
sources = { "autocrypt", "wkd" }
"""
PINENTRY = """#!/bin/sh
echo OK
while read -r word rest; do case $word in
GETPIN) echo "D %s"; echo OK;;
BYE) echo OK; exit;;
*) echo OK;;
esac; done
""" % PASSPHRASE
MASKS = ((r"\b[0-9A-F]{4}(?: [0-9A-F]{4}){9}\b", "GROUPED"), (r"\b[0-9A-F]{40}\b|\b[0-9A-F]{64}\b", "FINGERPRINT"),
         (r"\b[0-9A-F]{16}\b", "KEY"), (r"\b\d{4}-\d\d-\d\d\b", "DATE"),
         (r"\d+ (?:second|minute)s? ago|just now", "AGE"),
         (r"version \d+$", "VERSION"))


def setUpModule():
    tempfile.tempdir = "/tmp"  # how long a path is, is seen in what is shown
    folder = tempfile.mkdtemp(prefix="pv", dir="/tmp")
    unittest.addModuleCleanup(shutil.rmtree, folder, True)
    test_sources.HOSTS.clear()
    test_sources.HOSTS[HOST] = "127.0.0.2"
    netspace.enter(folder)
    names = netspace.Names(test_sources.HOSTS)
    unittest.addModuleCleanup(names.close)
    gpg = Gpg(os.path.join(folder, "k"))
    unittest.addModuleCleanup(gpg.close)
    gpg.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", "Bob Dodgson <%s>" % BOB,
            "future-default", "default", "0")
    test_sources.SHARED["gpg"] = gpg


def mask(text):
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text, flags=re.M)
    return text


class Session(World):
    def setUp(self):
        super().setUp()
        self.gpg = test_sources.SHARED["gpg"]
        file = test_sources.wkd_file(HOST, BOB)
        self.wkd = test_sources.Keyd(self, "127.0.0.2", {file: test_sources.exported(BOB)})
        self.home = os.path.join(self.folder, "alice")
        self.write("bin/pinentry", PINENTRY, 0o755)
        os.symlink(harness.PRIVYSEAL, os.path.join(self.folder, "bin", "privyseal"))
        os.symlink(os.path.join(os.path.dirname(os.path.abspath(harness.PRIVYSEAL)), "privyseal-gpg"),
                   os.path.join(self.folder, "bin", "privyseal-gpg"))
        self.install()

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def install(self):
        """A machine as it is before privyseal ran. The reference server is at an address of this machine, and its
        certificate is nobody's else: that is said in a file that the guide does not show."""
        state = "alice/.local/state/privyseal"
        wkd = 'wkd { hosts = "%s"  ca_file = "%s" }\n' % (HOST, self.certificate("https")[0])
        self.write("alice/.config/privyseal/privyseal.conf", CONFIG + wkd)
        self.write(state + "/keys/alice@example.org/gnupg/gpg-agent.conf",
                   "pinentry-program %s/bin/pinentry\nallow-loopback-pinentry\n" % self.folder)
        for path in ("", "/keys", "/keys/alice@example.org", "/keys/alice@example.org/gnupg"):
            os.chmod(os.path.join(self.folder, state + path), 0o700)

    def bob_revokes_his_key(self):
        fingerprint = self.gpg.fingerprint(BOB)
        with open(os.path.join(self.gpg.home, "openpgp-revocs.d", fingerprint + ".rev"), "rb") as file:
            certificate = file.read().replace(b":-----BEGIN", b"-----BEGIN")
        self.gpg.run("--import", data=certificate)
        with open(os.path.join(self.wkd.folder, test_sources.wkd_file(HOST, BOB)), "wb") as file:
            file.write(test_sources.exported(BOB))

    def the_disk_is_lost(self):
        shutil.rmtree(os.path.join(self.home, ".local"))
        self.install()

    def type(self, command, expected):
        """What is shown. Answers are those of the guide; a passphrase is not shown."""
        line = command.replace("FINGERPRINT-OF-BOB", self.gpg.fingerprint(BOB))
        line = re.sub(r"\b[0-9A-F]{40}\b", self.gpg.fingerprint(BOB), line)
        answers = re.findall(r"\[yes/no\] (\w+)", expected)
        answers += [PASSPHRASE, PASSPHRASE] * ("--backup" in command)
        environment = {"HOME": self.home, "TERM": "dumb",
                       "PATH": os.path.join(self.folder, "bin") + ":" + os.environ["PATH"]}
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "GNUPGHOME"):
            environment[name] = ""
        shown, _ = terminal.run(["/bin/sh", "-c", "cd && " + line], COLUMNS, answers, environment)
        shown = shown.replace(self.home, "~").replace(self.folder, "/tmp")
        return line, "".join(text.rstrip() + "\n" for text in shown.splitlines() if not text.startswith("wkd {"))

    def play(self, guide):
        """The guide with what is shown now."""
        def block(match):
            out = ""
            for each in re.split(r"^(?=\$ )", match.group(1), flags=re.M)[1:]:
                command, _, expected = each.partition("\n")
                line, shown = self.type(command[2:], expected)
                out += "$ %s\n%s" % (line, shown)
            return "```\n%s```\n" % out
        parts = re.split(r"(^<!-- .* -->\n)", guide, flags=re.M)
        for i, part in enumerate(parts):
            if part.startswith("<!-- "):
                getattr(self, part[5:-5].lower().replace(" ", "_"))()
            else:
                parts[i] = re.sub(r"^```\n(.*?)^```\n", block, part, flags=re.M | re.S)
        return "".join(parts)

    def test_the_guide_shows_what_is_shown(self):
        with open(GUIDE, encoding="utf-8") as file:
            guide = file.read()
        self.maxDiff = None
        played = self.play(guide)
        if "--write" in sys.argv:
            with open(GUIDE, "w", encoding="utf-8") as file:
                file.write(played)
        else:
            self.assertEqual(mask(played), mask(guide))


if __name__ == "__main__":
    unittest.main(argv=[word for word in sys.argv if word != "--write"])
