"""Makes the descriptors of the protocol when hatchling builds the package."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from generate import OUTPUT, PROTO, generate  # noqa: E402


class Descriptors(BuildHookInterface):
    """A source distribution carries the descriptors: it has no proto folder beside it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if PROTO.is_dir():
            generate()
        elif not OUTPUT.is_file():
            raise FileNotFoundError(f"there is neither {PROTO} nor {OUTPUT}: build from the repository")
