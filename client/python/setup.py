"""Makes the stubs of the contract (imagesearch/v1/*_pb2.py) into the built package.

The contract lies in proto/ of the repository. A source distribution takes it along, into its own proto/, so that it
builds anywhere.
"""
import pathlib
import shutil
from importlib import resources
from importlib.metadata import version

import grpc_tools
from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
CONTRACT = "imagesearch/v1"
PROTO = next((folder for folder in (HERE / "proto", HERE.parents[1] / "proto") if (folder / CONTRACT).is_dir()), None)
NO_PROTO = "the contract is missing: build from a checkout of the repository, or from a source distribution"


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
        if PROTO is None:
            raise SystemExit(NO_PROTO)
        files = [str(path.relative_to(PROTO)) for path in sorted((PROTO / CONTRACT).glob("*.proto"))]
        well_known = resources.files(grpc_tools) / "_proto"
        arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}",
                     f"--grpc_python_out={out}", *files]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc failed")
        (out / "imagesearch/v1/__init__.py").write_text('"""The generated messages and stubs of imagesearch.v1."""\n')


class SdistWithContract(sdist):
    def make_release_tree(self, base_dir, files):
        if PROTO is None:
            raise SystemExit(NO_PROTO)
        super().make_release_tree(base_dir, files)
        shutil.copytree(PROTO / CONTRACT, pathlib.Path(base_dir) / "proto" / CONTRACT, dirs_exist_ok=True)


# Generated code runs with the library versions that made it, or newer ones.
setup(cmdclass={"build_py": BuildWithStubs, "sdist": SdistWithContract},
      install_requires=[f"grpcio>={version('grpcio')}", f"protobuf>={version('protobuf')}",
                        "googleapis-common-protos>=1.60"])
