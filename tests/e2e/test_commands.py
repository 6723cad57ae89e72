"""Commands as people meet them: help, the manual, what shells complete, tables on a terminal, progress, JSON."""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import terminal
from test_cli import PROGRAM, CommandLine, Person

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs")
COMMON = {"config", "account", "json", "at", "help", "version"}


def said(*words):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True, timeout=60).stdout


def commands():
    """Name: its help."""
    names = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", said("--help"), re.M)
    return {name: said("help", *name.split()) for name in names}


def options(text):
    """Name: what stands for its value, or ""; its own ones alone."""
    found = re.findall(r"^  --([a-z-]+)(?: (\S+))?(?:  |$)", text, re.M)
    return {name: value for name, value in found if name not in COMMON}


class Help(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.commands = commands()
        with open(os.path.join(DOCS, "privyseal.1"), encoding="utf-8") as file:
            cls.manual = file.read()

    def entries(self, name):
        """What the manual says of a command; it may have several entries."""
        pattern = r"^\.It Nm Cm %s(?![a-z ]*[a-z])(.*?)(?=^\.It Nm|^\.El)" % name
        return "".join(re.findall(pattern, self.manual, re.M | re.S))

    def test_every_command_is_explained_with_an_example(self):
        self.assertGreater(len(self.commands), 20)
        for name, text in self.commands.items():
            with self.subTest(command=name):
                self.assertTrue(text.startswith("Usage: privyseal %s [OPTION]..." % name))
                self.assertRegex(text, r"Example:\n  .*privyseal %s\b" % name)
                self.assertEqual(text, said(*name.split(), "--help"))
                self.assertNotRegex(text, re.compile(r"^.{121,}", re.M))

    def test_examples_are_understood(self):
        """Their options are the command's."""
        lines = re.findall(r"^(privyseal .*)$", self.manual.partition(".Sh EXAMPLES")[2], re.M)
        lines += [re.search(r"Example:\n  (.*)", text).group(1) for text in self.commands.values()]
        for line in lines:
            words = re.search(r"privyseal ([a-z]+)(?: ([a-z]+))?", line)
            name = next(name for name in (" ".join(filter(None, words.groups())), words.group(1))
                        if name in self.commands)
            for option in re.findall(r" --([a-z-]+)", line.partition("|")[0]):
                self.assertIn(option, {**options(self.commands[name]), **dict.fromkeys(COMMON)}, line)

    def test_the_manual_has_every_command_and_option(self):
        for name, text in self.commands.items():
            with self.subTest(command=name):
                entry = self.entries(name)
                self.assertTrue(entry, "no entry")
                told = set(re.findall(r"Fl -([a-z-]+)", entry))
                self.assertEqual(set(options(text)) - told, set())
                heads = " ".join(re.findall(r"^\.It Nm Cm %s\b.*" % name, self.manual, re.M))
                self.assertEqual(set(re.findall(r"Fl -([a-z-]+)", heads)) - set(options(text)), set())
                examples = self.manual.partition(".Sh EXAMPLES")[2]
                self.assertRegex(examples, re.compile("^.*privyseal %s\\b" % name, re.M))
        for option in COMMON:
            self.assertIn("Fl -%s" % option, self.manual.partition(".Ss")[0])

    def test_no_option_takes_a_secret(self):
        """A passphrase comes by a descriptor: command lines are seen by everybody on the machine."""
        for name, text in self.commands.items():
            for option, value in options(text).items():
                if re.search("pass|secret|code|pin$|word", option) and value:
                    self.assertTrue(option.endswith("-fd") and value == "N", (name, option))

    def test_help_fits_the_terminal(self):
        text, _ = terminal.run([PROGRAM, "help", "key", "rotate"], columns=72)
        self.assertEqual([line for line in text.splitlines() if len(line) > 72 and "  " not in line.strip()
                          and not line.startswith(("Usage", "Exit", "  privyseal"))], [])
        self.assertIn("--old-passphrase-fd N", text)


class Completions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="pv")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.commands = commands()
        for shell, name in (("bash", "bash"), ("zsh", "_privyseal"), ("fish", "fish")):
            with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
                file.write(said("completion", shell))
        with open(os.path.join(cls.folder, "key.asc"), "w", encoding="utf-8"):
            os.mkdir(os.path.join(cls.folder, "keys of others"))

    def shell(self, *argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, cwd=self.folder,
                              env={**os.environ, "HOME": self.folder, "XDG_CONFIG_HOME": self.folder})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def bash(self, *lines):
        """What is offered for each line, a list of words."""
        script = ". ./bash\ntry() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _privyseal; " \
            "printf '%s\\n' \"${COMPREPLY[@]}\" --; }\n"
        script += "".join("try %s\n" % " ".join("'%s'" % word for word in line) for line in lines)
        return [part.split("\n")[:-1] for part in self.shell("bash", "--norc", "-c", script).split("--\n")[:-1]]

    def fish(self, *lines):
        marks = "\n".join("complete -C %s; echo ==" % ("'%s'" % line) for line in lines)
        parts = self.shell("fish", "--no-config", "-c", "source ./fish\n" + marks).split("==\n")[:-1]
        return [[line.partition("\t")[0] for line in part.splitlines()] for part in parts]

    def zsh(self, *lines):
        """The line as it stands after the tabulator."""
        script = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($PWD \$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word; \
show() { print -r -- \"<\$BUFFER>\"; zle kill-buffer }; zle -N show; bindkey '^X' show; print READ''Y"
zpty -r -m shell seen '*READY*'
"""
        for line in lines:
            script += "zpty -w -n shell '%s'$'\\t'$'\\x18'\nzpty -r -m shell seen '*\\<*\\>*'\n" % line
            script += "print -r -- \"$seen\"\n"
        script += "zpty -d shell\n"
        return re.findall(r"<(privyseal [^>]*)>", self.shell("zsh", "-f", "-c", script))

    def test_all_commands_and_options(self):
        names = list(self.commands)
        firsts = {name.split()[0] for name in names} | {"help"}
        lines = [["privyseal", *name.split(), "--"] for name in names]
        offered = self.bash(["privyseal", ""], ["privyseal", "key", ""], *lines)
        in_fish = self.fish("privyseal ", "privyseal key ", *(" ".join(line) for line in lines))
        keys = {name.split()[1] for name in names if name.startswith("key ")}
        for shell in (offered, in_fish):
            self.assertEqual(set(shell[0]), firsts)
            self.assertEqual(set(shell[1]), keys)
            for name, words in zip(names, shell[2:]):
                all_options = {*options(self.commands[name]), *COMMON}
                self.assertEqual(set(words), {"--" + option for option in all_options}, name)

    def test_bash(self):
        offered = self.bash(["privyseal", "k"], ["privyseal", "help", "store", "re"],
                            ["privyseal", "key", "revoke", "--reason", ""],
                            ["privyseal", "key", "revoke", "--reason", "=", "com"],
                            ["privyseal", "key", "trust", "alice@example.org", "f"], ["privyseal", "completion", "z"],
                            ["privyseal", "key", "import", "ke"], ["privyseal", "seal", "--output-dir", "ke"],
                            ["privyseal", "key", "make", "--name", "a"], ["privyseal", "--v"])
        offered[6].sort()  # files, as they lie in their folder
        self.assertEqual(offered, [["key"], ["reopen"], ["compromised", "superseded", "retired"], ["compromised"],
                                   ["full"], ["zsh"], ["key.asc", "keys of others"], ["keys of others"], [],
                                   ["--version"]])

    def test_bash_with_its_own_loader(self):
        """As bash finds it where it is installed."""
        loader = "/usr/share/bash-completion/bash_completion"
        out = self.shell("bash", "--norc", "-c", ". %s; . ./bash; complete -p privyseal" % loader)
        self.assertEqual(out, "complete -F _privyseal privyseal\n")

    def test_fish(self):
        offered = self.fish("privyseal k", "privyseal help store re", "privyseal key revoke --reason com",
                            "privyseal key trust alice@example.org f", "privyseal completion z",
                            "privyseal key import ke", "privyseal seal --output-dir ke", "privyseal key make --name k")
        offered[6].sort()  # files, as they lie in their folder
        self.assertEqual(offered, [["key"], ["reopen"], ["compromised"], ["full"], ["zsh"],
                                   ["key.asc", "keys of others/"], ["keys of others/"], []])

    def test_zsh(self):
        self.shell("zsh", "-f", "-n", "./_privyseal")
        self.assertEqual([line.rstrip() for line in self.zsh(
            "privyseal certi", "privyseal help store reo", "privyseal key revoke --reason=com",
            "privyseal key trust alice@example.org ult", "privyseal key import key.", "privyseal store clear --priv")],
            ["privyseal certificate", "privyseal help store reopen", "privyseal key revoke --reason=compromised",
             "privyseal key trust alice@example.org ultimate", "privyseal key import key.asc",
             "privyseal store clear --private-keys"])

    def test_no_such_shell(self):
        done = subprocess.run([PROGRAM, "completion", "csh"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("bash, zsh and fish", done.stderr)


class Tables(CommandLine):
    """One person with a key that is revoked, and one that is not."""

    def show(self, *words, columns=100, status=0, **environment):
        text, code = terminal.run([PROGRAM, *words, "--config", self.alice.config], columns,
                                  environment={"HOME": self.alice.folder, "NO_COLOR": "", **environment})
        self.assertEqual(code, status, text)
        return text

    def test_colour_and_width(self):
        revoked = self.alice.make_key()
        self.alice.run("key", "revoke", "--yes", revoked)
        fingerprint = self.alice.json("key", "make", "--no-passphrase", "--another", "--name",
                                      "Alice Wrong \u5f20\u4f1f of the very long name")["fingerprint"]
        shown = self.show("key", "list")
        self.assertIn("\x1b[32mown\x1b[0m", shown)
        self.assertIn("\x1b[1;31mrevoked\x1b[0m", shown)
        self.assertNotIn("\x1b", shown.splitlines()[0])
        plain = re.sub("\x1b\\[[0-9;]*m", "", shown)
        for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertEqual(self.show("key", "list", **quiet), plain)
        self.assertNotIn("\x1b", self.alice.run("key", "list")[0])
        self.assertNotIn("\x1b", self.show("key", "list", "--json"))
        self.assertIn("\x1b[32mok\x1b[0m", self.show("check", "--offline"))
        for columns in (40, 60, 100):
            for words in (("key", "show", fingerprint), ("why", "x@plain.example"), ("key", "list"), ("key", "trust"))[
                    :2 if columns == 40 else 4]:
                lines = re.sub("\x1b\\[[0-9;]*m", "", self.show(*words, columns=columns)).splitlines()
                wide = [line for line in lines if len(line) + sum(c > "\u2fff" for c in line) > columns]
                self.assertEqual(wide, [], words)
        # What is cut into lines is all there.
        narrow = self.show("key", "show", fingerprint, columns=40)
        self.assertEqual("".join(re.findall("[0-9A-F]{4}(?= |$)", narrow, re.M))[:40], fingerprint)

    def test_progress(self):
        """Shown on a terminal from the first second on, and taken away."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port, is_seen = listener.getsockname()[1], threading.Event()
            with open(self.alice.config, "r+", encoding="utf-8") as file:
                text = file.read().replace("127.0.0.1:9", "127.0.0.1:%d" % port)
                file.seek(0)
                file.write(text)

            def hold(until):
                with listener.accept()[0]:
                    until()

            server = threading.Thread(target=hold, args=(lambda: is_seen.wait(50),))
            server.start()
            text, _ = terminal.run([PROGRAM, "check", "--config", self.alice.config], environment={"NO_COLOR": "1"},
                                   on_shown=lambda shown: is_seen.set() if b"asking 127.0.0.1" in shown else None)
            server.join()
            self.assertTrue(is_seen.is_set(), text)
            self.assertRegex(text, r"\rasking 127\.0\.0\.1 \.\.\.\r {20,}\r")
            # Not where nobody looks.
            server = threading.Thread(target=hold, args=(lambda: time.sleep(1.3),))
            server.start()
            _, error = self.alice.run("check", status=1)
            server.join()
            self.assertNotIn("asking", error)


class Json(CommandLine):
    """With --json standard output is one JSON value, or nothing where the command could not."""

    def value(self, *words, status=0, **more):
        out, error = self.alice.run(*words, "--json", status=status, **more)
        self.assertTrue(out if status == 0 else out or error, words)
        return json.loads(out) if out else None

    def test_of_what_is_done(self):
        bob = Person(self.root, "bob@example.org")
        his = bob.make_key()
        mine, public = self.alice.make_key(), bob.key()
        hers = os.path.join(self.root, "bob.asc")
        with open(hers, "w", encoding="utf-8") as file:
            file.write(public)
        report = self.value("key", "import", hers, hers)
        self.assertEqual((report["considered"], report["imported"], report["unchanged"]), (2, 1, 1))
        self.assertEqual([key["fingerprint"] for key in report["keys"]], [his, his])
        written = os.path.join(self.root, "alice.asc")
        self.assertEqual(self.value("key", "export", mine, "--output", written), {"fingerprint": mine, "file": written})
        for words in (("check", "--offline"), ("key", "list"), ("key", "show", his), ("key", "renew"), ("key", "trust"),
                      ("key", "trust", his), ("key", "trust", his, "full"), ("key", "certify", "--yes", his),
                      ("key", "certify", "--revoke", "--yes", his), ("key", "pin", "--yes", "bob@example.org", his),
                      ("why", "bob@example.org"), ("key", "pin", "--remove", "bob@example.org"), ("certificate",),
                      ("store", "show"), ("store", "clear"), ("store", "reopen"), ("key", "publish", mine, "--dns"),
                      ("key", "rotate", "--no-passphrase"), ("key", "delete", "--yes", his),
                      ("key", "revoke", "--yes", mine), ("store", "clear", "--all", "--yes")):
            with self.subTest(words=words):
                self.assertIsNotNone(self.value(*words))

    def test_of_what_is_not(self):
        for words, status in ((("key", "show", "0" * 40), 1), (("key", "delete", "0" * 40), 1),
                              (("key", "export", "0" * 40, "--output", os.path.join(self.root, "x")), 1),
                              (("key", "export", "x@example.org"), 2), (("key", "backup"), 2), (("key", "renew"), 1),
                              (("key", "rotate"), 1), (("key", "revoke"), 1), (("key", "import", "/nonexistent"), 1),
                              (("key", "trust", "--graph"), 2), (("key", "find", "bob@example.org"), 2),
                              (("key", "pin", "bob@example.org", "0" * 40), 1), (("key", "refresh", "0" * 40), 2),
                              (("key", "list", "--account", "x@example.org"), 2), (("why", "nobody"), 2),
                              (("why", "eve@strict.example"), 1), (("check", "--offline"), 1),
                              (("store", "clear", "--yes"), 2), (("completion", "bash"), 2), (("seal",), 1)):
            with self.subTest(words=words):
                self.value(*words, status=status)
        self.value("key", "import", status=1, data="no key\n")


class Asks(CommandLine):
    """What cannot be taken back is asked for: without a terminal the answer is no, and nothing is done."""

    def test_each(self):
        bob = Person(self.root, "bob@example.org")
        his, mine = bob.make_key(), self.alice.make_key()
        self.alice.run("key", "import", data=bob.key())
        self.alice.run("store", "show")
        before = self.alice.json("key", "list"), self.alice.json("key", "trust")
        for words in (("key", "delete", his), ("key", "delete", "--secret", mine), ("key", "revoke", mine),
                      ("key", "rotate", "--revoke-old", "--no-passphrase"), ("key", "pin", "bob@example.org", his),
                      ("key", "pin", "--not", "bob@example.org", his), ("key", "trust", his, "ultimate"),
                      ("key", "certify", his), ("store", "clear", "--all")):
            with self.subTest(words=words):
                self.assertIn("--yes", self.alice.run(*words, status=1)[1])
        self.assertEqual((self.alice.json("key", "list"), self.alice.json("key", "trust")), before)
        text, status = terminal.run([PROGRAM, "store", "clear", "--all", "--config", self.alice.config],
                                    answers=["no"], environment={"HOME": self.alice.folder})
        self.assertEqual(status, 1)
        self.assertIn("pinned", text)
        _, status = terminal.run([PROGRAM, "store", "clear", "--all", "--config", self.alice.config],
                                 answers=["yes"], environment={"HOME": self.alice.folder})
        self.assertEqual(status, 0)


def load_tests(loader, _, __):
    """What CommandLine tests runs in test_cli."""
    suite = unittest.TestSuite()
    for case in (Help, Completions):
        suite.addTests(loader.loadTestsFromTestCase(case))
    for case in (Tables, Json, Asks):
        suite.addTests(case(name) for name in loader.getTestCaseNames(case) if name in vars(case))
    return suite


if __name__ == "__main__":
    unittest.main()
