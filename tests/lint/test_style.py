"""style.py finds what it is there to find."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
STYLE = os.path.join(HERE, "style.py")
GOOD = '/* A "quoted" word. */\nint base_good(void);\n\nint base_good(void)\n{\n    return 1;\n}\n'


class Style(unittest.TestCase):
    def lint(self, rule, text, name="base/x.c"):
        with tempfile.TemporaryDirectory() as root:
            for path, content in (("Makefile", "all:\n"), (name, text)):
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(content)
            for settings in (".clang-format", ".clang-tidy"):
                shutil.copy(os.path.join(HERE, "../..", settings), root)
            run = subprocess.run([sys.executable, STYLE, "--root", root, rule], capture_output=True, text=True,
                                 env=dict(os.environ, LINT_FLAGS="-std=gnu17 -Wall -Wextra -Werror -I."), check=False)
        return run.returncode, run.stdout

    def assert_found(self, rule, text, place, name="base/x.c"):
        state, output = self.lint(rule, text, name)
        self.assertEqual(state, 1, output)
        self.assertIn(place, output)

    def test_good_file(self):
        for rule in ("file_length", "function_length", "banned_calls", "gotos", "banned_words", "machine_paths",
                     "lines", "clang_warnings", "headers_gcc", "clang_tidy", "cppcheck"):
            self.assertEqual(self.lint(rule, GOOD)[0], 0, rule)

    def test_unknown_rule(self):
        self.assertEqual(self.lint("no_such_rule", GOOD)[0], 1)

    def test_long_file(self):
        self.assert_found("file_length", "\n" * 601, "base/x.c:601:")

    def test_long_function(self):
        text = "int x(void)\n{\n%s    return 1;\n}\n"
        self.assert_found("function_length", text % ("    ;\n" * 78), "x has 82 lines")
        self.assertEqual(self.lint("function_length", text % ("    ;\n" * 76))[0], 0)

    def test_banned_call(self):
        self.assert_found("banned_calls", "\nvoid x(char *a)\n{\n    strcpy (a, \"b\");\n}\n", "base/x.c:4:")

    def test_names_like_banned_ones(self):
        text = "/* strcpy(a, b) */\nconst char *x = \"strcpy(a)\";\nint y(void);\nint my_system(void);\n"
        self.assertEqual(self.lint("banned_calls", text)[0], 0)

    def test_goto(self):
        self.assert_found("gotos", "void x(void)\n{\nagain:\n    goto again;\n}\n", "base/x.c:4:")
        self.assert_found("gotos", "void x(void)\n{\ndone:\n    goto done;\n}\n", "base/x.c:4:")
        self.assertEqual(self.lint("gotos", "void x(void)\n{\n    goto done;\ndone:\n    return;\n}\n")[0], 0)

    def test_banned_word(self):
        self.assert_found("banned_words", "/* TO" "DO: more */\n", "base/x.c:1:")

    def test_path_of_one_machine(self):
        self.assert_found("machine_paths", "const char *x = \"/home/" "somebody/y\";\n", "base/x.c:1:")
        self.assertEqual(self.lint("machine_paths", "const char *x = \"~/work/y\", *z = \"/home\";\n")[0], 0)

    def test_lines(self):
        for text in ("int x; \n", "\tint x;\n", "int x;", "/* %s */\n" % ("x" * 120)):
            self.assert_found("lines", text, "base/x.c")

    def test_header_that_needs_another(self):
        self.assert_found("headers_gcc", "size_t x(void);\n", "base/x.h:1:", "base/x.h")
        self.assert_found("headers_clang", "size_t x(void);\n", "base/x.h:1:", "base/x.h")

    def test_warning(self):
        text = "int x(void);\nint x(void)\n{\n    int y;\n    return y;\n}\n"
        self.assert_found("clang_warnings", text, "base/x.c:5:")

    def test_clang_format(self):
        self.assert_found("clang_format", "int  x;\n", "base/x.c:1:")

    def test_clang_tidy(self):
        text = "int x(int *a);\nint x(int *a)\n{\n    if (*a);\n    return 1;\n}\n"
        self.assert_found("clang_tidy", text, "base/x.c:4:")

    def test_cppcheck(self):
        text = "int x(void);\nint x(void)\n{\n    int a[2];\n    a[2] = 1;\n    return a[0];\n}\n"
        self.assert_found("cppcheck", text, "base/x.c:5:")

    def test_manual(self):
        self.assert_found("manuals", ".Dd today\n.Dt X 1\n.Sh NAME\n", "docs/x.1", "docs/x.1")


if __name__ == "__main__":
    unittest.main()
