#!/usr/bin/python3
"""Random messages, many of them broken, read by mime_dump and by Python's email package.

Usage: mime_python.py MIME_DUMP [messages [seed]]
Both must find the same parts at the same depths, with the same types and the same bytes in them. Prints each
difference, then "N passed, N failed". Left out, since Python reads them in its own way: bare CRs (Python ends lines
there), two boundary lines in a row (Python sees no part between them), lines in a header that are no fields (Python's
body begins there), comments in types, lines that are boundaries of two nested multiparts (Python takes the outer).
"""
import email
import email.policy
import json
import random
import subprocess
import sys

WORDS = [b"word", b"From ", b"--", b"--b1.", b"-- b1", b".", b"=", b"a\tb", b"caf\xc3\xa9", b" ", b"x" * 90, b"\xff"]
TYPES = [b"text/plain; charset=utf-8", b"TEXT/Html;charset=\"x;y\"", b"application/octet-stream;\n name=\"a;b\"",
         b"image/png", b"nonsense", b"text/x-odd; boundary=b1", b"multipart/mixed",
         b"multipart/x; boundary=never"]


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.boundaries = 0

    def maybe(self, text, odds=2):
        return text if self.rng.randrange(odds) == 0 else b""

    def text(self):
        lines = [b"".join(self.rng.choices(WORDS, k=self.rng.randrange(8))) for _ in range(self.rng.randrange(6))]
        return b"\n".join(lines)

    def fields(self):
        return self.maybe(b"X-Odd:y\n", 3) + self.maybe(b"Subject: a\n b\n\tc\n", 3)

    def leaf(self):
        head, text = self.fields(), self.text()
        if self.rng.randrange(3):
            head += self.rng.choice([b"Content-Type: ", b"content-type:", b"CONTENT-TYPE:\t"])
            head += self.rng.choice(TYPES) + b"\n"
        else:
            # In a digest this is a message, whose header must be one.
            text = b"Y: z\n\n" + text
        head = head or b"X: y\n"
        # Some headers are broken off by the boundary or by the end.
        return head if self.rng.randrange(12) == 0 else head + b"\n" + text

    def multipart(self, depth, outer):
        self.boundaries += 1
        boundary = b"b%d" % self.boundaries
        if outer and self.rng.randrange(3) == 0:
            boundary = outer + self.rng.choice([b"x", b"'", b"-x"])
        subtype = self.rng.choice([b"mixed", b"alternative", b"digest", b"Signed"])
        parameter = self.rng.choice([b"; boundary=\"%s\"", b";\n\tboundary=\"%s\"",
                                     b"; a=b;\n boundary = \"%s\" ; c=d"])
        out = self.fields() + b"Content-Type: multipart/" + subtype + parameter % boundary + b"\n\n"
        out += self.maybe(self.text() + b"\n", 3)
        for _ in range(self.rng.randrange(5)):
            out += b"--" + boundary + self.maybe(b" \t", 4) + b"\n" + self.entity(depth + 1, boundary) + b"\n"
        if self.rng.randrange(6):
            out += b"--" + boundary + b"--" + self.maybe(b"  ", 4)
            out += self.maybe(b"\n") + self.maybe(b"\n" + self.text(), 3)
        return out

    def entity(self, depth, outer):
        choice = self.rng.randrange(3 if depth == 0 else 7) if depth < 6 else 9
        if choice < 2:
            return self.multipart(depth, outer)
        if choice == 2:
            return b"Content-Type: message/rfc822\n\n" + self.entity(depth + 1, outer)
        return self.leaf()

    def message(self):
        whole = b"From: a@example.org\nMIME-Version: 1.0\n" + self.entity(0, None)
        if self.rng.randrange(4) == 0:
            lines = whole.splitlines(keepends=True)
            whole = b"".join(lines[:self.rng.randrange(2, len(lines) + 1)])
            whole = whole[:-1] if self.rng.randrange(2) else whole
        ends = self.rng.choice([[b"\n"], [b"\r\n"], [b"\r\n", b"\n"]])
        return b"".join(line + self.rng.choice(ends) for line in whole.split(b"\n")[:-1]) + whole.split(b"\n")[-1]


def read_by_python(part, depth=0):
    """One (depth, type, bytes of a leaf) for each part."""
    found = [(depth, part.get_content_type(), None)]
    if part.is_multipart():
        for child in part.get_payload():
            found += read_by_python(child, depth + 1)
    elif part.get_content_maintype() != "multipart":
        # get_payload() would convert the charset.
        found[0] = (depth, part.get_content_type(), part._payload.encode("ascii", "surrogateescape"))
    return found


def is_alike(message, ours, theirs):
    """Python takes the last line end away from a part that the end of the message breaks off."""
    if len(ours) != len(theirs):
        return False
    for (depth, kind, body), (their_depth, their_kind, their_body) in zip(ours, theirs):
        if (depth, kind) != (their_depth, their_kind) or (body is None) != (their_body is None):
            return False
        if body != their_body and not (message.endswith(body) and body in (their_body + b"\n", their_body + b"\r\n")):
            return False
    return True


def read_by_dump(dump, message):
    run = subprocess.run([dump], input=message, capture_output=True, check=True)
    found = []
    for line in run.stdout.splitlines():
        part = json.loads(line)
        is_text = part["kind"] == "leaf" and not part["type"].startswith("multipart/")
        found.append((part["depth"], part["type"], message[part["body_at"]:part["body_end"]] if is_text else None))
    return found


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    messages = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    failed = 0
    for number in range(messages):
        message = Maker(random.Random("%d %d" % (seed, number))).message()
        ours = read_by_dump(sys.argv[1], message)
        theirs = read_by_python(email.message_from_bytes(message, policy=email.policy.compat32))
        if not is_alike(message, ours, theirs):
            failed += 1
            print("message %d of seed %d:\n%r" % (number, seed, message))
            for line in ours:
                print("  here  ", line, "" if line in theirs else "<--")
            for line in theirs:
                print("  Python", line, "" if line in ours else "<--")
    print("%d passed, %d failed" % (messages - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
