#!/usr/bin/env python3
"""Addresses as Python reads them and as privyseal does.

usage: addr_python.py PATH_OF_ADDR_DUMP [NUMBER] [SEED]

NUMBER lists are made by the grammar of RFC 5322 (so that all three know what they say), then half as many are damaged.
For the well-formed ones privyseal must give exactly the addresses that were put in, in order; email.utils and
email.headerregistry are counted against the same, and any list on which both of them disagree with privyseal fails.
For damaged ones privyseal may refuse; what it does give where both Pythons agree must be among what they give. The
exceptions, in which Python is known to be wrong or privyseal strict, are written where they are made.
"""
import email.headerregistry
import email.policy
import email.utils
import json
import random
import subprocess
import sys

ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~"


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def atom(self):
        return "".join(self.random.choice(ATEXT) for _ in range(self.random.randint(1, 6)))

    def dot_atom(self):
        return ".".join(self.atom() for _ in range(self.random.randint(1, 3)))

    def domain(self):
        label = lambda: "".join(self.random.choice("abcXYZ019") for _ in range(self.random.randint(1, 6)))
        if self.random.random() < 0.05:
            return self.pick("[127.0.0.1]", "[IPv6:2001:db8::1]")
        return ".".join(label() for _ in range(self.random.randint(1, 3)))

    def comment(self, depth=0):
        inner = self.pick("x", "a b", "a@b", "<c@d>", "x, y", "semi; colon:", "esc\\)aped", "quo\"te", "")
        if depth < 2 and self.random.random() < 0.3:
            inner += self.comment(depth + 1)
        return "(" + inner + ")"

    def blank(self, comments=True):
        roll = self.random.random()
        if roll < 0.5:
            return ""
        if roll < 0.8 or not comments:
            return self.pick(" ", "\t", "  ", "\r\n ")
        return " " + self.comment() + self.pick("", " ")

    def quoted(self):
        inside = "".join(self.pick("a", "b", " ", ",", ";", ":", "@", "<", ">", "(", ")", ".", "\\\"", "\\\\", "\\x")
                         for _ in range(self.random.randint(1, 8)))
        return '"' + inside + '"'

    def local(self):
        """An (as written, content) pair."""
        if self.random.random() < 0.2:
            text = self.quoted()
            content, at = "", 1
            while at < len(text) - 1:
                at += text[at] == "\\"
                content += text[at]
                at += 1
            return text, content
        text = self.dot_atom()
        return text, text

    def addr_spec(self):
        text, content = self.local()
        domain = self.domain()
        return text + "@" + domain, normal(content, domain)

    def phrase(self):
        words = [self.pick(self.atom, self.quoted)() for _ in range(self.random.randint(1, 3))]
        return self.pick(" ", "\t", "\r\n ").join(words)

    def mailbox(self):
        text, address = self.addr_spec()
        roll = self.random.random()
        if roll < 0.4:
            return self.blank() + text + self.blank(), [address]
        name = self.phrase() if roll < 0.9 else ""
        route = "@r.example:" if self.random.random() < 0.05 else ""
        return self.blank() + name + self.blank() + "<" + route + text + ">" + self.blank(), [address]

    def group(self):
        members = [self.mailbox() for _ in range(self.random.randint(0, 3))]
        return (self.phrase() + ":" + ",".join(text for text, _ in members) + ";" + self.blank(False),
                [address for _, found in members for address in found])

    def address_list(self):
        items = [self.group() if self.random.random() < 0.15 else self.mailbox()
                 for _ in range(self.random.randint(1, 4))]
        return (",".join(text for text, _ in items), [address for _, found in items for address in found])

    def damage(self, text):
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(text) + 1)
            if self.random.random() < 0.5:
                text = text[:at] + text[at + 1:]
            else:
                text = text[:at] + self.random.choice('<>()[]@,;:."\\ ab\t') + text[at:]
        return text


def is_dot_atom(content):
    return all(piece and all(c in ATEXT or c.isalnum() for c in piece) for piece in content.split("."))


def normal(content, domain):
    if not is_dot_atom(content):
        content = '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return content + "@" + domain.lower()


def normal_of_text(address):
    """An address as Python writes it, in normal form."""
    local, _, domain = address.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        inside, local, at = local[1:-1], "", 0
        while at < len(inside):
            at += inside[at] == "\\" and at + 1 < len(inside)
            local += inside[at]
            at += 1
    return normal(local, domain)


def by_utils(value):
    return [normal_of_text(address) for _, address in email.utils.getaddresses([value]) if address]


def by_registry(value):
    unfolded = value.replace("\r\n", "")
    try:
        header = email.policy.default.header_factory("to", unfolded)
        return [normal(a.username, a.domain) for a in header.addresses if a.domain]
    except Exception:  # The parser of the standard library raises many kinds on damaged values.
        return None


def by_privyseal(program, values):
    escaped = (value.replace("\\", "\\x5c").replace("\r", "\\x0d").replace("\n", "\\x0a") for value in values)
    lines = "".join(text + "\n" for text in escaped)
    run = subprocess.run([program], input=lines.encode("latin-1"), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.decode("ascii").splitlines()]


def main():
    program = sys.argv[1]
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    maker = Maker(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    made = [maker.address_list() for _ in range(number)]
    damaged = [maker.damage(maker.address_list()[0]) for _ in range(number // 2)]
    failures = utils_differs = registry_differs = refused = unlike = 0

    for (value, want), answer in zip(made, by_privyseal(program, [value for value, _ in made])):
        got = [address for _, address in answer["addresses"]]
        if answer["err"] != "ok" or got != want:
            failures += 1
            print("WRONG", repr(value), "\n want", want, "\n got ", answer)
        utils_differs += by_utils(value) != want
        registry_differs += by_registry(value) != want

    for value, answer in zip(damaged, by_privyseal(program, damaged)):
        if answer["err"] != "ok":
            refused += 1
            continue
        got = [address for _, address in answer["addresses"]]
        utils, registry = by_utils(value), by_registry(value)
        if got != utils and got != registry:
            unlike += 1
            # Both refusing what we can still read is no vote: what they read of a damaged list varies by version.
            if utils == registry and utils:
                failures += 1
                print("ALONE", repr(value), "\n python", utils, "\n got   ", got)
            elif len(sys.argv) > 4:
                print("UNLIKE", repr(value), "\n utils", utils, "\n registry", registry, "\n got", got)

    print(f"{number} lists: email.utils differs in {utils_differs}, email.headerregistry in {registry_differs}; "
          f"{len(damaged)} damaged: {refused} refused, {unlike} unlike either")
    print(f"{number + len(damaged) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
