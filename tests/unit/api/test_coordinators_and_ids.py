"""FindCoordinator, InitProducerId, DescribeCluster, DescribeConfigs, ApiVersions through the dispatcher."""

from __future__ import annotations

from typing import Any

import pytest
from broker_kit import Kit, a_frame

from kgw_core import errors, wire
from kgw_core.api import registry
from kgw_core.api.operations import CLUSTER_OPERATIONS
from kgw_core.state.memory import MemoryStateStore
from kgw_core.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from kgw_core.wire.messages.describe_cluster import DescribeClusterRequest
from kgw_core.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from kgw_core.wire.messages.find_coordinator import FindCoordinatorRequest
from kgw_core.wire.messages.init_producer_id import InitProducerIdRequest

pytestmark = pytest.mark.anyio

GROUP, TRANSACTION = 0, 1
TOPIC, BROKER = 2, 4


class TestFindCoordinator:
    @pytest.mark.parametrize("version", range(4))
    async def test_one_group(self, kit: Kit, version: int) -> None:
        response = await kit.ask(FindCoordinatorRequest("g"), version)
        assert (response.error_code, response.node_id) == (0, 1)
        assert (response.host, response.port) == ("gateway.test", 9092)

    @pytest.mark.parametrize("version", range(4, 7))
    async def test_several_groups(self, kit: Kit, version: int) -> None:
        response = await kit.ask(FindCoordinatorRequest(coordinator_keys=["g", "h"]), version)
        assert [(each.key, each.error_code, each.node_id) for each in response.coordinators] == [
            ("g", 0, 1),
            ("h", 0, 1),
        ]

    @pytest.mark.parametrize("version", range(1, 7))
    @pytest.mark.parametrize(
        ("key_type", "name"), [(TRANSACTION, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"), (9, "INVALID_REQUEST")]
    )
    async def test_what_is_not_coordinated_here(
        self, kit: Kit, version: int, key_type: int, name: str
    ) -> None:
        if version < 4:
            answer = await kit.ask(FindCoordinatorRequest("x", key_type), version)
        else:
            request = FindCoordinatorRequest(key_type=key_type, coordinator_keys=["x"])
            (answer,) = (await kit.ask(request, version)).coordinators
        assert errors.error_name(answer.error_code) == name
        assert (answer.node_id, answer.host, answer.port) == (-1, "", -1)
        assert answer.error_message


class TestInitProducerId:
    @pytest.mark.parametrize("version", range(6))
    async def test_ids_are_new_each_time(self, kit: Kit, version: int) -> None:
        answers = [await kit.ask(InitProducerIdRequest(None, 1000), version) for _ in range(3)]
        assert [(each.error_code, each.producer_epoch) for each in answers] == [(0, 0)] * 3
        first, second, third = (each.producer_id for each in answers)
        assert 0 < first < second < third < 2**63

    @pytest.mark.parametrize("version", range(6))
    async def test_while_the_state_gives_none_the_client_is_to_try_again(
        self, kit: Kit, version: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Kafka's error. Older clients take other errors for fatal ones."""

        async def fail(*_: object) -> int:
            raise errors.KafkaStorageError("not now")

        with monkeypatch.context() as patched:
            patched.setattr(MemoryStateStore, "commit", fail)
            answer = await kit.ask(InitProducerIdRequest(None, 1000), version)
        assert errors.error_name(answer.error_code) == "COORDINATOR_LOAD_IN_PROGRESS"
        assert (answer.producer_id, answer.producer_epoch) == (-1, -1)
        assert (await kit.ask(InitProducerIdRequest(None, 1000), version)).error_code == 0

    async def test_an_idempotent_producer_that_names_its_id_gets_a_new_one(self, kit: Kit) -> None:
        first = await kit.ask(InitProducerIdRequest(None, 1000), 5)
        second = await kit.ask(InitProducerIdRequest(None, 1000, first.producer_id, 0), 5)
        assert (second.error_code, second.producer_epoch) == (0, 0)
        assert second.producer_id != first.producer_id

    @pytest.mark.parametrize(("producer", "epoch"), [(5, -1), (-1, 5)])
    async def test_an_id_without_an_epoch_or_the_reverse(self, kit: Kit, producer: int, epoch: int) -> None:
        answer = await kit.ask(InitProducerIdRequest(None, 1000, producer, epoch), 5)
        assert errors.error_name(answer.error_code) == "INVALID_REQUEST"

    @pytest.mark.parametrize("version", range(6))
    @pytest.mark.parametrize(
        ("name", "error"), [("tx", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"), ("", "INVALID_REQUEST")]
    )
    async def test_transactions(self, kit: Kit, version: int, name: str, error: str) -> None:
        answer = await kit.ask(InitProducerIdRequest(name, 1000), version)
        assert errors.error_name(answer.error_code) == error
        assert (answer.producer_id, answer.producer_epoch) == (-1, -1)


class TestDescribeCluster:
    @pytest.mark.parametrize("version", range(3))
    async def test_the_brokers(self, kit: Kit, version: int) -> None:
        response = await kit.ask(DescribeClusterRequest(), version)
        assert (response.error_code, response.cluster_id, response.controller_id) == (0, "the-cluster", 1)
        (broker,) = response.brokers
        assert (broker.broker_id, broker.host, broker.port) == (1, "gateway.test", 9092)
        assert response.cluster_authorized_operations == -(2**31)
        asked = await kit.ask(DescribeClusterRequest(True), version)
        assert asked.cluster_authorized_operations == CLUSTER_OPERATIONS

    @pytest.mark.parametrize(
        ("endpoint", "name"), [(2, "MISMATCHED_ENDPOINT_TYPE"), (3, "UNSUPPORTED_ENDPOINT_TYPE")]
    )
    async def test_endpoints_that_are_not_here(self, kit: Kit, endpoint: int, name: str) -> None:
        response = await kit.ask(DescribeClusterRequest(endpoint_type=endpoint), 2)
        assert errors.error_name(response.error_code) == name
        assert response.brokers == []


class TestDescribeConfigs:
    async def ask(
        self, kit: Kit, kind: int, name: str, keys: list[str] | None = None, version: int = 4, **more: Any
    ) -> Any:
        request = DescribeConfigsRequest([DescribeConfigsResource(kind, name, keys)], **more)
        (result,) = (await kit.ask(request, version)).results
        assert (result.resource_type, result.resource_name) == (kind, name)
        return result

    @pytest.mark.parametrize("version", range(5))
    async def test_a_topic(self, kit: Kit, version: int) -> None:
        await kit.topic(retention_ms="5000")
        result = await self.ask(kit, TOPIC, "t", version=version)
        configs = {each.name: each for each in result.configs}
        assert configs["retention.ms"].value == "5000"
        if version == 0:
            assert not configs["retention.ms"].is_default
            assert configs["cleanup.policy"].is_default
        else:
            assert (configs["retention.ms"].config_source, configs["cleanup.policy"].config_source) == (1, 5)
        assert configs["retention.ms"].synonyms == []
        assert configs["retention.ms"].documentation == (None if version >= 3 else "")

    async def test_synonyms_and_documentation_are_for_those_who_ask(self, kit: Kit) -> None:
        await kit.topic()
        result = await self.ask(
            kit, TOPIC, "t", ["max.message.bytes"], include_synonyms=True, include_documentation=True
        )
        (config,) = result.configs
        assert config.synonyms and config.documentation

    async def test_names_may_be_picked_and_unknown_ones_are_left_out(self, kit: Kit) -> None:
        await kit.topic()
        result = await self.ask(kit, TOPIC, "t", ["retention.ms", "nonsense"])
        assert [each.name for each in result.configs] == ["retention.ms"]

    async def test_the_broker(self, kit: Kit) -> None:
        result = await self.ask(kit, BROKER, "1", ["node.id", "num.partitions"])
        assert {each.name: each.value for each in result.configs} == {"node.id": "1", "num.partitions": "1"}
        assert all(each.read_only for each in result.configs)

    @pytest.mark.parametrize(
        ("kind", "name", "error"),
        [
            (TOPIC, "no", "UNKNOWN_TOPIC_OR_PARTITION"),
            (TOPIC, "a b", "INVALID_TOPIC_EXCEPTION"),
            (BROKER, "7", "INVALID_REQUEST"),
            (BROKER, "x", "INVALID_REQUEST"),
            (99, "x", "INVALID_REQUEST"),
        ],
    )
    async def test_what_is_not_there(self, kit: Kit, kind: int, name: str, error: str) -> None:
        result = await self.ask(kit, kind, name)
        assert errors.error_name(result.error_code) == error
        assert result.error_message
        assert result.configs == []


class TestApiVersions:
    def asked(self, name: str = "tester", version: str = "1.0") -> ApiVersionsRequest:
        return ApiVersionsRequest(name, version)

    @pytest.mark.parametrize("version", range(6))
    async def test_the_answer_is_the_registry(self, kit: Kit, version: int) -> None:
        request = self.asked() if version >= 3 else ApiVersionsRequest()
        response = await kit.ask(request, version)
        assert response.error_code == 0
        told = {each.api_key: (each.min_version, each.max_version) for each in response.api_keys}
        assert told == {key: api.versions for key, api in registry.load().items()}
        assert len(told) == len(response.api_keys)

    @pytest.mark.parametrize("version", [6, 7, 100, 32767])
    async def test_a_newer_version_is_told_in_the_oldest_which_to_ask_in(
        self, kit: Kit, version: int
    ) -> None:
        frame = bytearray(a_frame(18, 5, 77, self.asked()))
        frame[2:4] = version.to_bytes(2, "big")
        answer = kit.dispatcher.start(memoryview(frame), kit.client, False)
        assert isinstance(answer, bytes)
        assert int.from_bytes(answer[:4], "big") == len(answer) - 4
        assert int.from_bytes(answer[4:8], "big") == 77
        response = wire.decode(ApiVersionsResponse, 0, answer[8:])
        assert errors.error_name(response.error_code) == "UNSUPPORTED_VERSION"
        (entry,) = response.api_keys
        assert (entry.api_key, (entry.min_version, entry.max_version)) == (
            18,
            registry.load()[18].versions,
        )

    @pytest.mark.parametrize("version", range(3, 6))
    @pytest.mark.parametrize(
        "name", ["", " ", "a b", "-a", "a-", ".a", "a.", "a\n", "ä", "a_b", "apache\tkafka"]
    )
    async def test_a_software_name_or_version_that_is_not_well_formed(
        self, kit: Kit, version: int, name: str
    ) -> None:
        for request in (self.asked(name=name), self.asked(version=name)):
            response = await kit.ask(request, version)
            assert errors.error_name(response.error_code) == "INVALID_REQUEST"
            assert response.api_keys == []
        assert kit.client.software_name == ""

    @pytest.mark.parametrize("name", ["a", "apache-kafka-java", "a.b-c.9", "9"])
    async def test_a_client_introduces_itself(self, kit: Kit, name: str) -> None:
        await kit.ask(self.asked(name, "4.0.0-rc1"), 3)
        assert (kit.client.software_name, kit.client.software_version) == (name, "4.0.0-rc1")

    @pytest.mark.parametrize(
        ("cluster", "node", "name"),
        [
            (None, -1, "NONE"),
            ("the-cluster", 1, "NONE"),
            ("another", 1, "REBOOTSTRAP_REQUIRED"),
            ("the-cluster", 2, "REBOOTSTRAP_REQUIRED"),
            (None, 1, "INVALID_REQUEST"),
            ("the-cluster", -1, "INVALID_REQUEST"),
        ],
    )
    async def test_a_client_that_looks_for_another_is_sent_back_to_its_bootstrap_servers(
        self, kit: Kit, cluster: str | None, node: int, name: str
    ) -> None:
        request = self.asked()
        request.cluster_id, request.node_id = cluster, node
        assert errors.error_name((await kit.ask(request, 5)).error_code) == name
