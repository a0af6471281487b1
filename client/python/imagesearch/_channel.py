"""How both clients reach the server."""
from __future__ import annotations

import json
from typing import Any

import grpc

MAX_MESSAGE = 64 << 20

# Retries where nothing was done (UNAVAILABLE) or the server asks for a pause; upserts are idempotent, so that doing one
# twice does no harm.
_SERVICE_CONFIG = json.dumps({
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": [{"service": "imagesearch.v1.ImageSearch"}, {"service": "imagesearch.v1.Admin"}],
        "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
                        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]},
    }],
})

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE),  # else uploads above 256 KiB are never retried
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 60000),
    ("grpc.keepalive_timeout_ms", 10000),
]


def credentials(tls: bool | grpc.ChannelCredentials) -> grpc.ChannelCredentials | None:
    if tls is False:
        return None
    return grpc.ssl_channel_credentials() if tls is True else tls


def metadata(token: str | None, priority: str | None) -> tuple[tuple[str, str], ...]:
    pairs = []
    if token:
        pairs.append(("authorization", f"Bearer {token}"))
    if priority:
        pairs.append(("imagesearch-priority", priority))
    return tuple(pairs)
