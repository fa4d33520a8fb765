"""The first example of the README works as it stands, from where the package is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import Pair

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_first_example(pair: Pair, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    name = f"readme-{os.getpid()}"
    program = found[1]
    for written, here in (
        ("127.0.0.1:7401", pair.document_address),
        ("127.0.0.1:7402", pair.query_address),
        ('"animals"', f'"{name}"'),
    ):
        assert written in program
        program = program.replace(written, here)
    program += "\nimport scalingnote\nprint(scalingnote.__file__)\n"
    # In an empty folder, so that nothing but what is installed is found.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    line, where = done.stdout.splitlines()
    assert re.fullmatch(r"0\.\d{3} bee Bees live in hives and make honey\.", line), line
    if "PYTHONPATH" not in os.environ:
        assert Path(where).is_relative_to(sys.prefix), where
    for each in pair.documents.list_collections():
        if each.name == name:
            pair.documents.drop_collection(physical_name=each.physical_name, with_aliases=True)
