"""The files of deploy/ say what the programs that read them understand: Kubernetes and Compose by their schemas, HAProxy
and nginx by themselves, and every flag is one of imagesearchd's."""
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from conftest import ROOT

DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent
ADDRESSES = {"WRITER": "127.0.0.1:1", "READER1": "127.0.0.1:2", "READER2": "127.0.0.1:3",
             "WRITER_HTTP": "127.0.0.1:4", "READER1_HTTP": "127.0.0.1:5", "READER2_HTTP": "127.0.0.1:6"}
KINDS = {"Namespace", "StatefulSet", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
         "NetworkPolicy"}


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def manifests():
    return sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents():
    return [d for path in manifests() for d in yaml.safe_load_all(path.read_text())]


def pods():
    return [d["spec"]["template"] for d in documents() if "template" in d.get("spec", {})]


def flags_of(arguments):
    return [argument.split("=")[0] for argument in arguments or [] if argument.startswith("--")]


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.name)
def test_kubernetes_schema(path):
    done = run(BIN / "kubernetes-validate", "--strict", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_schema_check_can_fail(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text((DEPLOY / "kubernetes/writer.yaml").read_text().replace("replicas: 1", "replicas: many"))
    assert run(BIN / "kubernetes-validate", "--strict", broken).returncode != 0


def test_kubernetes_has_every_kind_and_selectors_meet():
    made = documents()
    assert {d["kind"] for d in made} == KINDS
    labels = [pod["metadata"]["labels"] for pod in pods()]
    for d in made:
        selector = {"Service": lambda s: s["selector"], "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
                    "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"]}.get(d["kind"])
        if selector:
            wanted = selector(d["spec"]).items()
            assert any(wanted <= pod.items() for pod in labels), (d["kind"], d["metadata"]["name"])


def test_pods_are_confined_and_probed_by_grpc():
    for pod in pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["terminationGracePeriodSeconds"] >= 40
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["readinessProbe"]["grpc"]["service"] == "ready"
            assert container["livenessProbe"]["grpc"]["service"] == "live"
            # Long enough that no new call comes when the port closes.
            probe = container["readinessProbe"]
            notice = int(next(a for a in container["args"] if a.startswith("--drain-notice-ms")).split("=")[1])
            assert notice >= 1000 * (probe["periodSeconds"] * probe["failureThreshold"] + 2)


def test_compose_schema():
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_profiles():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    of = {profile: {n for n, s in services.items() if profile in s["profiles"]} for profile in ("replicas", "milvus")}
    assert of["replicas"] == {"balancer", "writer", "reader1", "reader2"}
    assert of["milvus"] == {"milvus-balancer", "encoder1", "encoder2", "encoder3", "milvus"}
    for name in ("balancer", "milvus-balancer"):
        assert set(services[name]["environment"]) == set(ADDRESSES)
        for address in services[name]["environment"].values():
            assert address.split(":")[0] in services


def test_every_flag_is_known():
    binary = os.environ.get("IMAGESEARCHD", ROOT / "build/release/server/imagesearchd")
    known = set(re.findall(r"--[a-z0-9-]+", run(binary, "--help").stdout))
    used = [flag for pod in pods() for c in pod["spec"]["containers"] for flag in flags_of(c["args"])]
    for service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values():
        used += flags_of(service.get("command"))
    assert "--role" in used and set(used) <= known, set(used) - known


def test_haproxy_takes_its_configuration():
    for more in ({}, {"PORT": "127.0.0.1:7", "HTTP_PORT": "127.0.0.1:8"}):
        done = run("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg", env={**os.environ, **ADDRESSES, **more})
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stderr, done.stderr


def test_nginx_takes_its_configuration(tmp_path):
    text = (DEPLOY / "nginx.conf").read_text()
    for number, name in enumerate(("writer", "reader1", "reader2"), 1):
        text = text.replace(f"server {name}:", f"server 127.0.0.{number}:")
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/dev/stderr", f"{tmp_path}/log")
    (tmp_path / "nginx.conf").write_text(text)
    done = run("nginx", "-t", "-c", tmp_path / "nginx.conf")
    assert done.returncode == 0, done.stderr


def test_the_image_is_what_its_head_says():
    text = (DEPLOY / "Dockerfile").read_text()
    for line in ("USER 10001:10001", "STOPSIGNAL SIGTERM", 'ENTRYPOINT ["imagesearchd"]', "debian:bookworm-slim"):
        assert line in text
    assert re.search(r'HEALTHCHECK .*\\\n +CMD \["imagesearch", .*"health"', text)
