# SPDX-License-Identifier: MPL-2.0
"""The packages: no circles among the imports, no command that imports a command, and every command of the tables exists."""

import ast
import graphlib
import pathlib
import re
import unittest

MODELS = pathlib.Path(__file__).parents[2]


def modules():
    """{dotted name: path} of the packages `train` and `evaluate`, without their tests."""
    found = {}
    for package in ("train", "evaluate"):
        for path in sorted((MODELS / package).rglob("*.py")):
            parts = path.relative_to(MODELS).with_suffix("").parts
            if "tests" not in parts and ".venv" not in parts and parts[-1] != "__main__":
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(name, path, known):
    """The modules of `known` that a module imports, within functions too."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known.keys() - {name}


def commands(package):
    """The modules that `__main__.py` of a package runs."""
    text = (MODELS / package / "__main__.py").read_text(encoding="utf-8")
    table = text[text.index("COMMANDS = {") : text.index("\n}")]
    return {f"{package}.{name}" for name in re.findall(r'^ +"([\w.]+)":', table, re.M)}


class Structure(unittest.TestCase):
    def setUp(self):
        self.known = modules()
        self.imports = {name: imports(name, path, self.known) for name, path in self.known.items()}
        self.commands = commands("train") | commands("evaluate")

    def test_imports_are_seen(self):
        self.assertIn("train.labels", self.imports["train.corpus.real"])
        self.assertIn("train.export.card", self.imports["evaluate.chain"])

    def test_no_circle(self):
        try:
            order = list(graphlib.TopologicalSorter(self.imports).static_order())
        except graphlib.CycleError as error:
            self.fail(f"modules that import each other: {' -> '.join(error.args[1])}")
        self.assertEqual(len(order), len(self.known))

    def test_training_does_not_import_the_evaluation(self):
        for name, used in self.imports.items():
            if name.startswith("train."):
                self.assertFalse([other for other in used if other.startswith("evaluate")], name)

    def test_every_command_exists_and_only_commands_have_a_main(self):
        with_main = {name for name, path in self.known.items() if re.search(r"^def main\(", path.read_text(encoding="utf-8"), re.M)}
        self.assertEqual(with_main, self.commands)

    def test_no_command_imports_a_command(self):
        for name in self.commands:
            self.assertFalse(self.imports[name] & self.commands, name)


if __name__ == "__main__":
    unittest.main()
