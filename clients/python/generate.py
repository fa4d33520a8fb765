"""Compiles ../../proto to src/scalingnote/descriptors.binpb with grpcio-tools: `python generate.py`.

The package makes its message classes from these descriptors in a pool of its own (see `_proto.py`), so it clashes
neither with `googleapis-common-protos`, which also has google/rpc/status.proto, nor with code that a program generated
from our protocol, and works with every runtime of protobuf.
"""

from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
OUTPUT = HERE / "src" / "scalingnote" / "descriptors.binpb"

SOURCES = (
    "scalingnote/v1/document_service.proto",
    "scalingnote/v1/query_service.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)


def generate() -> None:
    """Writes the descriptors of every message and service that the client uses."""
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    options = [f"-I{PROTO}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={OUTPUT}"]
    if protoc.main(["protoc", *options, *SOURCES]) != 0:
        raise RuntimeError(f"protoc could not compile {PROTO}")


if __name__ == "__main__":
    generate()
