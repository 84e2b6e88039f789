"""UpdateFeatures: feature levels do not change while the gateway runs (KIP-584).

Behaviour:
- An update to the level in force succeeds. Any other is INVALID_UPDATE_VERSION with a reason.
- One refused update refuses all of the request, also with validate only.

Versions: v1 upgrade type and validate only (KIP-778) · v2 no answer for each feature.
"""

from __future__ import annotations

from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidUpdateVersion, KafkaError
from kgw_core.features import SAFE_DOWNGRADE, UPGRADE
from kgw_core.wire.messages.update_features import (
    FeatureUpdateKey,
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)


def handle(request: UpdateFeaturesRequest, context: RequestContext) -> UpdateFeaturesResponse:
    """Check all updates. An update that passes changes nothing."""
    features = context.broker.features
    for update in sorted(request.feature_updates, key=lambda update: update.feature):
        try:
            features.check(update.feature, update.max_version_level, _upgrade_type(update, context.version))
        except InvalidUpdateVersion as error:
            raise InvalidUpdateVersion(
                f"The update failed for all features since the following feature had an error: {error}"
            ) from None
    names = dict.fromkeys(update.feature for update in request.feature_updates)
    return UpdateFeaturesResponse(
        error_message=None,
        results=[UpdatableFeatureResult(name, 0, "NONE") for name in names] if context.version < 2 else [],
    )


def _upgrade_type(update: FeatureUpdateKey, version: int) -> int:
    if version >= 1:
        return update.upgrade_type
    return SAFE_DOWNGRADE if update.allow_downgrade else UPGRADE


def refuse(
    request: UpdateFeaturesRequest, error: KafkaError, context: RequestContext
) -> UpdateFeaturesResponse:
    return UpdateFeaturesResponse(error_code=error.code, error_message=str(error))


API = Api("UpdateFeatures", (0, 2), handle, refuse)
