"""The web of trust beside gpg's own: for many made graphs each user ID is exactly as valid as gpg says, and each step
of a path is a certification that gpg finds good.

Keys are made once; a graph is a bundle that gpg imports, and ownertrust.
"""
import collections
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import wot_made  # noqa: E402
from wot_made import TAG_KEY, Key, packet  # noqa: E402

DUMP = os.path.join(os.environ.get("BUILD", "build"), "tests", "wot_dump")
SEED = 5
GRAPHS = 44
NOW = int(time.time())
DAY = 86400
# gpg's letters, where a user ID is neither dead nor unknown.
LETTERS = {"q": "undefined", "n": "never", "m": "marginal", "f": "full", "u": "ultimate", "-": "unknown",
           "r": "revoked", "e": "expired", "o": "unknown"}
OWNERTRUST = {"unknown": 2, "never": 3, "marginal": 4, "full": 5, "ultimate": 6}
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "leo", "mallory",
          "niaj")
DOMAINS = ("example.org", "example.net", "sub.example.org")
PATTERNS = ("<[^>]+[@.]example\\.org>$", "<[^>]+[@.]EXAMPLE\\.net>$", "example.org", "sub.example", "[@.]example",
            "<[^>]+[@.]org>$")

Step = collections.namedtuple("Step", "signer key level made name")


def gpg(home, *arguments, data=None, at=None):
    faked = ["--faked-system-time", "%d!" % at] if at else []
    done = subprocess.run(["gpg", "--homedir", home, "--no-options", "--batch", "--no-tty", "--quiet", "--no-autostart",
                           "--no-auto-check-trustdb", *faked, *arguments], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError("gpg %s: %s" % (arguments, done.stderr.decode(errors="replace")))
    return done.stdout.decode()


def dump(home, at=None):
    """Validities by (fingerprint, user ID), and paths by the same."""
    done = subprocess.run([DUMP, home] + ([str(at)] if at else []), capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError("wot_dump: %d %s" % (done.returncode, done.stderr.decode()))
    validities, paths, numbers, last = {}, {}, {}, None
    for line in done.stdout.decode().splitlines():
        words = line.split(" ")
        if words[0] == "uid":
            last = words[1], " ".join(words[3:])
            validities[last], paths[last] = words[2], []
        elif words[0] == "edge":
            paths[last].append(Step(words[1], words[2], int(words[3]), int(words[4]), " ".join(words[5:])))
        else:
            numbers[words[0]] = int(words[1])
    return validities, paths, numbers


def gpg_validities(home, at=None):
    validities, fingerprint = {}, None
    for row in gpg(home, "--with-colons", "--list-keys", at=at).splitlines():
        fields = row.split(":")
        if fields[0] == "pub":
            fingerprint = None
        elif fields[0] == "fpr" and fingerprint is None:
            fingerprint = fields[9]
        elif fields[0] == "uid":
            validities[fingerprint, fields[9].replace("\\x3a", ":")] = LETTERS[fields[1]]
    return validities


def gpg_certifications(home):
    """What gpg finds good: (signer's key ID, fingerprint, level, made, user ID)."""
    good, fingerprint, name = set(), None, None
    for row in gpg(home, "--with-colons", "--check-sigs").splitlines():
        fields = row.split(":")
        if fields[0] == "pub":
            fingerprint = None
        elif fields[0] == "fpr" and fingerprint is None:
            fingerprint = fields[9]
        elif fields[0] == "uid":
            name = fields[9]
        elif fields[0] == "sig" and fields[1] == "!" and re.match("1[0-3]", fields[10]):
            good.add((fields[4], fingerprint, int(fields[10][1]), int(fields[5]), name))
    return good


class Graph:
    """A ring in which everything that validity depends on is thrown by dice."""

    def __init__(self, dice, keys):
        self.dice = dice
        self.keys = keys[:dice.randint(4, len(keys))]
        self.names, self.parts, self.owners = {}, {}, {}
        for i, key in enumerate(self.keys):
            self.make_key(key, PEOPLE[i])
        # The web is dense enough that most of it is reached, and chains are long enough for the limit of depth.
        for key in self.keys:
            for signer in dice.sample(self.keys, min(len(self.keys), dice.choice((1, 2, 2, 3, 4)))):
                if signer is not key:
                    self.certify(signer, key)
        if dice.random() < 0.4:
            self.chain()
        self.choose_owners()

    def make_key(self, key, person):
        dice = self.dice
        names = [("%s <%s@%s>" % (person.title(), person, dice.choice(DOMAINS))).encode()]
        if dice.random() < 0.3:
            names.append(("%s: work <%s@%s>" % (person, person + ".work", dice.choice(DOMAINS))).encode())
        if dice.random() < 0.1:
            names.append(("%s@%s" % (person, dice.choice(DOMAINS))).encode())
        expires = NOW - 5 * DAY if dice.random() < 0.08 else NOW + 50 * DAY if dice.random() < 0.2 else 0
        self.names[key], self.parts[key] = names, {}
        self.key_part = packet(TAG_KEY, key.body)
        if dice.random() < 0.06:
            self.key_part += key.withdraw(NOW - 3 * DAY)
        self.parts[key][None] = self.key_part
        for name in names:
            dead = len(names) > 1 and dice.random() < 0.15
            part = key.bind(name, expires, NOW - 2 * DAY if dead and dice.random() < 0.5 else 0)
            if dead and dice.random() < 0.5:
                part += key.withdraw_name(name, NOW - DAY)
            self.parts[key][name] = part

    def certify(self, signer, key, **more):
        dice = self.dice
        name = dice.choice(self.names[key])
        made = NOW - dice.randint(10, 90) * DAY
        level = dice.choice((0, 0, 1, 2, 3))  # gpg ignores level 1 (min-cert-level)
        if dice.random() < 0.12:
            more["expires"] = made + dice.choice((3, 400)) * DAY
        if dice.random() < 0.2:
            more["local"] = True
        if dice.random() < 0.25:
            more["trust"] = dice.choice(((1, 120), (1, 60), (2, 120), (3, 60), (2, 30)))
            if dice.random() < 0.5:
                more["domain"] = dice.choice(PATTERNS)
        if dice.random() < 0.08:
            more["forever"] = True
        self.parts[key][name] += signer.certify(key, name, made, level, **more)
        if dice.random() < 0.1:
            self.parts[key][name] += signer.certify(key, name, made + DAY, revokes=True)
            if dice.random() < 0.4:
                self.parts[key][name] += signer.certify(key, name, made + 2 * DAY, 2)
        elif dice.random() < 0.08:
            # A later one that has expired takes the earlier one's place.
            self.parts[key][name] += signer.certify(key, name, made + DAY, 3, expires=made + 2 * DAY)

    def chain(self):
        for signer, key in zip(self.keys, self.keys[1:]):
            for name in self.names[key]:
                self.parts[key][name] += signer.certify(key, name, NOW - 95 * DAY, 3)

    def choose_owners(self):
        dice = self.dice
        self.owners[self.keys[0]] = "ultimate"
        for key in self.keys[1:]:
            level = dice.choice(("unknown", "never", "marginal", "marginal", "marginal", "full", "full", None))
            if dice.random() < 0.04:
                level = "ultimate"
            if level:
                self.owners[key] = level

    def bundle(self):
        return b"".join(self.parts[key][None] + b"".join(self.parts[key][name] for name in self.names[key])
                        for key in self.keys)

    def ownertrust(self):
        return "".join("%s:%d:\n" % (key.fingerprint, OWNERTRUST[level])
                       for key, level in self.owners.items()).encode()


class World(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="pvwot")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        dice = random.Random(SEED)
        cls.keys = [Key(NOW - 100 * DAY, dice.randbytes(32)) for _ in PEOPLE]

    def home_of(self, bundle, ownertrust, name):
        home = os.path.join(self.folder, name)
        os.mkdir(home, 0o700)
        gpg(home, "--import-options", "import-local-sigs", "--import", data=bundle)
        gpg(home, "--import-ownertrust", data=ownertrust)
        gpg(home, "--check-trustdb")
        return home


class Compared(World):
    def compare(self, home, at=None):
        ours, paths, numbers = dump(home, at)
        theirs = gpg_validities(home, at)
        for who, validity in theirs.items():
            # What nobody certified, and who certifies nobody, is not in the graph.
            self.assertEqual(ours.get(who, "unknown" if validity not in ("revoked", "expired") else validity), validity,
                             who)
        self.assertLessEqual(set(ours), set(theirs))
        self.assertEqual(numbers["left-out"], 0)
        return ours, paths

    def follow(self, graph, home, ours, paths):
        """Each step is good, its signer is trusted and stands on what came before; the last is on the user ID."""
        good = gpg_certifications(home)
        ultimate = {key.fingerprint for key, level in graph.owners.items() if level == "ultimate"}
        for who, path in paths.items():
            self.assertEqual(bool(path), ours[who] in ("full", "marginal"), who)
            reached = set(ultimate)
            for step in path:
                self.assertIn((step.signer[-16:], step.key, step.level, step.made, step.name.replace(":", "\\x3a")),
                              good)
                self.assertIn(step.signer, reached, "a step before its signer is reached")
                reached.add(step.key)
            if path:
                self.assertEqual((path[-1].key, path[-1].name), who)
                self.assertIn(path[0].signer, ultimate)

    def test_made_graphs(self):
        counts = collections.Counter()
        lengths = collections.Counter()
        for i in range(GRAPHS):
            with self.subTest(graph=i):
                graph = Graph(random.Random(SEED * 1000 + i), self.keys)
                home = self.home_of(graph.bundle(), graph.ownertrust(), "g%d" % i)
                ours, paths = self.compare(home)
                self.follow(graph, home, ours, paths)
                counts.update(ours.values())
                lengths.update(len(path) for path in paths.values())
                if i % 6 == 0:
                    # The same ring, judged when half of the certifications had not expired yet, by gpg's faked clock.
                    at = NOW - 8 * DAY
                    gpg(home, "--check-trustdb", at=at)
                    self.compare(home, at)
        # The dice are worth nothing if they do not show every side.
        for validity in ("unknown", "undefined", "marginal", "full", "ultimate", "revoked", "expired"):
            self.assertGreater(counts[validity], 4, (validity, counts))
        self.assertGreater(max(lengths), 3, lengths)


class Flooded(World):
    """A stranger can put any number of certifications on a key. None of them costs more than a look."""

    def ring(self, key, me, parts):
        name = b"Flo <flo@example.org>"
        mine = b"Me <me@example.org>"
        return (packet(TAG_KEY, me.body) + me.bind(mine) + packet(TAG_KEY, key.body) + key.bind(name)
                + me.certify(key, name, NOW - DAY, 3) + parts)

    def flooded(self, name, parts):
        me, key = self.keys[:2]
        home = self.home_of(self.ring(key, me, parts), ("%s:6:\n" % me.fingerprint).encode(), name)
        return key, home

    def test_certifications_by_nobody_are_only_counted(self):
        key, home = self.flooded("f1", wot_made.flood(100000, NOW - 9 * DAY))
        kept = os.path.getsize(os.path.join(home, "pubring.kbx"))
        self.assertGreater(kept, 4000000, "gpg has taken them all")
        ours, paths, numbers = dump(home)
        who = key.fingerprint, "Flo <flo@example.org>"
        self.assertEqual(ours[who], "full")
        self.assertEqual(len(paths[who]), 1)
        self.assertEqual(numbers["strangers"], 100000)
        self.assertEqual(numbers["left-out"], 0)

    def test_certifications_that_pretend_to_be_mine_are_bounded(self):
        me = self.keys[0]
        key, home = self.flooded("f2", wot_made.flood(2000, NOW - 9 * DAY, bytes.fromhex(me.fingerprint)[-8:]))
        ours, paths, numbers = dump(home)
        who = key.fingerprint, "Flo <flo@example.org>"
        self.assertEqual(ours[who], "full")
        self.assertEqual(len(paths[who]), 1)
        # The self-signature, and 16 by each maker.
        self.assertEqual(numbers["left-out"], 2000 + 1 - 16)


if __name__ == "__main__":
    unittest.main()
