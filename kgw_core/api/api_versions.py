"""ApiVersions: the APIs and features of this gateway; the request has the client's software name.

Behaviour:
- The answer has the APIs of the registry, so only those with a handler.
- Features are those of :mod:`kgw_core.features`. A feature at level 0 is not finalized.
- A newer version of the request gets the v0 answer with UNSUPPORTED_VERSION and the entry of ApiVersions
  (KIP-511).

Versions: v3 client software name and version, features (KIP-584) · v4 features at level 0, which clients of
v3 cannot read · v5 the cluster and node that the client expects: if they are not ours, REBOOTSTRAP_REQUIRED
sends it back to its bootstrap servers (KIP-1242).
"""

from __future__ import annotations

import re

from kgw_core.api import registry
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError, RebootstrapRequired, UnsupportedVersion
from kgw_core.wire.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def handle(request: ApiVersionsRequest, context: RequestContext) -> ApiVersionsResponse:
    """All served APIs with their ranges."""
    broker = context.broker
    if context.version >= 3:
        name, version = request.client_software_name, request.client_software_version
        if not _SOFTWARE.fullmatch(name) or not _SOFTWARE.fullmatch(version):
            raise InvalidRequest(f"client software name {name!r} or version {version!r} is not well formed")
        context.client.introduced(name, version)
    if (request.cluster_id is None) != (request.node_id == -1):
        raise InvalidRequest("cluster id and node id are given together, or neither is")
    if request.cluster_id is not None and request.cluster_id != broker.cluster_id:
        raise RebootstrapRequired(f"this is cluster {broker.cluster_id}, not {request.cluster_id}")
    if request.node_id != -1 and request.node_id != broker.placement.node_id:
        raise RebootstrapRequired(f"this is node {broker.placement.node_id}, not {request.node_id}")
    features = broker.features
    return ApiVersionsResponse(
        0,
        [entry(api) for api in registry.load().values()],
        supported_features=[
            SupportedFeatureKey(each.name, each.lowest, each.highest)
            for each in features.table.values()
            if each.lowest or context.version >= 4
        ],
        finalized_features_epoch=features.epoch,
        finalized_features=[
            FinalizedFeatureKey(each.name, each.level, each.level)
            for each in features.table.values()
            if each.level
        ],
    )


def entry(api: Api) -> ApiVersion:
    """The entry of one API."""
    return ApiVersion(api.key, *api.versions)


def unsupported(api: Api) -> ApiVersionsResponse:
    """The v0 answer to a request of a version that is not served."""
    return ApiVersionsResponse(UnsupportedVersion.code, [entry(api)])


def refuse(request: ApiVersionsRequest, error: KafkaError, context: RequestContext) -> ApiVersionsResponse:
    return ApiVersionsResponse(error.code)


API = Api("ApiVersions", (0, 5), handle, refuse)
