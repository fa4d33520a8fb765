"""The package is typed: mypy in strict mode, and pyright where it is installed, find nothing in it, and what they have to
find in tests/typed.py."""

import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What is optional can only be checked where it is installed.
HAS_ALL = all(
    importlib.util.find_spec(name) for name in ("pandas", "pyarrow", "langchain_core", "llama_index", "haystack")
)


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=HERE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(tmp_path: Path) -> None:
    what = ["src/scalingnote"] if HAS_ALL else ["src/scalingnote/__init__.py"]
    run("mypy", "--strict", "--warn-unused-ignores", f"--cache-dir={tmp_path}", *what, "tests/typed.py")


if importlib.util.find_spec("pyright") is not None:

    def test_pyright() -> None:
        run("pyright", "--pythonpath", sys.executable)
