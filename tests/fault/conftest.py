"""The fixtures of the integration tests, for the faults."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import importlib.util

_spec = importlib.util.spec_from_file_location(
    "integration_conftest", pathlib.Path(__file__).resolve().parents[1] / "integration/conftest.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
Daemon, daemon, shared = _module.Daemon, _module.daemon, _module.shared
pytest_sessionstart, pytest_sessionfinish = _module.pytest_sessionstart, _module.pytest_sessionfinish
