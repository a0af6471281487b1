"""Makes the stubs of the contract (imagesearch/v1/*_pb2.py) into the built package."""
import pathlib
from importlib import resources
from importlib.metadata import version

import grpc_tools
from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"


class BuildWithStubs(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            self.make_stubs(pathlib.Path(self.build_lib))
        else:
            self.make_stubs(HERE)

    @staticmethod
    def make_stubs(out):
        from grpc_tools import protoc
        if not PROTO.is_dir():
            raise SystemExit(f"the contract is missing: {PROTO} (build from a checkout of the repository)")
        files = [str(path.relative_to(PROTO)) for path in sorted((PROTO / "imagesearch/v1").glob("*.proto"))]
        well_known = resources.files(grpc_tools) / "_proto"
        arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}",
                     f"--grpc_python_out={out}", *files]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc failed")
        (out / "imagesearch/v1/__init__.py").write_text('"""The generated messages and stubs of imagesearch.v1."""\n')


# Generated code runs with the library versions that made it, or newer ones.
setup(cmdclass={"build_py": BuildWithStubs},
      install_requires=[f"grpcio>={version('grpcio')}", f"protobuf>={version('protobuf')}",
                        "googleapis-common-protos>=1.60"])
