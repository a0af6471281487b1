"""What operators get: every metric named in the dashboard and the alerts exists, slow calls tell their stages, and a
report of `imagesearch diagnose` holds no secret."""
import json
import os
import pathlib
import re
import subprocess
import urllib.request

import grpc
from imagesearch.v1 import imagesearch_pb2 as pb

import certificates
import pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("IMAGESEARCH", ROOT / "build/release/client/imagesearch")
METRIC = re.compile(r"\b(?:imagesearch|process)_[a-z0-9_]+")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def exported(server):
    text = urllib.request.urlopen(f"http://127.0.0.1:{http_port(server)}/metrics", timeout=20).read().decode()
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}


def http_port(server):
    return int((server.folder / "port").read_text().split()[1])


def named():
    """{file: metrics} of the dashboard and of the alert rules, and of the table in docs/operations.md."""
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = re.findall(r"^\s+expr: (.*)$", (ROOT / "deploy/alerts.yml").read_text(), re.M)
    assert len(expressions) > 20 and len(rules) > 10
    return {"dashboard": set(METRIC.findall(" ".join(expressions))), "alerts": set(METRIC.findall(" ".join(rules)))}


def test_every_metric_of_the_dashboard_and_the_alerts_is_exported(tmp_path, daemon):
    authority = certificates.Authority(tmp_path / "authority")
    pair = authority.issue("server")
    (tmp_path / "keys").write_text('{"keys": []}')
    # The ports of this server need a key and TLS, but its metrics don't need the key.
    import ssl
    server = daemon("--http", "127.0.0.1:0", "--tls-cert", str(pair[0]), "--tls-key", str(pair[1]), "--open-metrics",
                    "--api-keys", str(tmp_path / "keys"), "--snapshot-interval-s", "1").start(ready=False)
    context = ssl.create_default_context(cafile=authority.certificate)
    made = subprocess.run([COMMAND, "key", "--file", tmp_path / "keys", "create", "test", "--scope", "admin"],
                          capture_output=True, text=True, check=True).stdout.strip()
    command = [COMMAND, "--server", f"localhost:{server.port}", "--tls", "--tls-ca", authority.certificate]
    import time
    deadline = time.monotonic() + 120
    while subprocess.run([*command, "--token", made, "count"], capture_output=True).returncode != 0:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.3)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.png").write_bytes(pictures.encode(pictures.picture(i)))
    subprocess.run([*command, "--token", made, "index", folder], check=True, capture_output=True)
    subprocess.run([*command, "--token", made, "search", "a box"], check=True, capture_output=True)
    # An index snapshot, which four pictures alone would not get.
    subprocess.run([*command, "--token", made, "compact", "--wait"], check=True, capture_output=True)
    wanted = set().union(*named().values())
    missing = wanted
    while missing and time.monotonic() < deadline:
        text = urllib.request.urlopen(f"https://localhost:{http_port(server)}/metrics", timeout=20,
                                      context=context).read().decode()
        there = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}
        missing = wanted - there
        time.sleep(0.3)
    assert not missing

    # The report of such a server, without its secrets.
    report = tmp_path / "report.txt"
    done = subprocess.run([*command, "--token", made, "diagnose", "--report", report, "--log", server.log,
                           "--metrics", f"https://localhost:{http_port(server)}/metrics"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = report.read_text()
    assert made not in text and made.split("_", 2)[2] not in text and "PRIVATE KEY" not in text
    for word in ("server_version", "imagesearch_ready 1", "default", "listening", "cores"):
        assert word in text, word


def test_a_slow_call_tells_its_stages_and_its_trace(daemon):
    server = daemon("--slow-call-ms", "1", "--log-format", "json").start()
    server.images.Search(pb.SearchRequest(query=pb.Query(terms=[pb.Term(text="a slow one")])), timeout=30,
                         metadata=(("traceparent", TRACE), ("x-request-id", "trace-test")))
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    line = next(line for line in lines if line.get("request_id") == "trace-test")
    assert line["event"] == "slow call" and line["traceparent"] == TRACE
    assert {"queue_ms", "encode_ms", "index_ms", "ms"} <= set(line)
