"""Apache Kafka (Java) from Maven Central: KRaft, one node, heap 1 GB, files that are not synced."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.base import BUILD, CannotBuild, Peer, call, free_port, need

VERSIONS = ("4.4.0", "4.3.1", "4.3.0", "4.2.1", "4.2.0")
"""Newest first; the first of which every part can be had is taken (``KGW_BENCH_KAFKA`` names another)."""

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kgw.bench</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    {parts}
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.1</version>
    </dependency>
  </dependencies>
</project>
"""
PART = """<dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>{name}</artifactId>
      <version>{version}</version>
    </dependency>"""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
log.segment.delete.delay.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

HEAP = ("-Xms1g", "-Xmx1g")
FLAGS = (  # those of Kafka's own start script
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)


class Kafka(Peer):
    name = "kafka"
    storage = "files, no fsync"
    more_properties = ""

    def make(self) -> str:
        need("java", "mvn")
        wanted = os.environ.get("KGW_BENCH_KAFKA")
        last: CannotBuild | None = None
        for version in (wanted,) if wanted else VERSIONS:
            names = ("kafka_2.13", "kafka-tools", "kafka-server")
            parts = "\n    ".join(PART.format(name=name, version=version) for name in names)
            (self.place / "pom.xml").write_text(POM.format(parts=parts))
            try:
                call(
                    [
                        "mvn",
                        "-q",
                        "-B",
                        "dependency:copy-dependencies",
                        f"-DoutputDirectory={self.place}/lib",
                    ],
                    self.place,
                )
            except CannotBuild as error:
                last = error
                continue
            return version
        assert last is not None
        raise last

    def prepare(self, port: int, folder: Path) -> None:
        properties = folder / "server.properties"
        text = PROPERTIES.format(port=port, controller=free_port(), folder=folder)
        properties.write_text(text + self.more_properties)
        format_it = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "4L6g3nShT-eMCtK--X86sw",
            "-c",
            str(properties),
        ]
        done = subprocess.run(
            [self._java, "-cp", f"{self.place}/lib/*", *format_it], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"Kafka's storage cannot be formatted: {done.stderr[-500:]}")

    def command(self, port: int, folder: Path) -> Sequence[str]:
        classes = ("-cp", f"{self.place}/lib/*")
        return [self._java, *HEAP, *FLAGS, *classes, "kafka.Kafka", str(folder / "server.properties")]

    @property
    def _java(self) -> str:
        return shutil.which("java") or "java"


class KafkaFsync(Kafka):
    """The same, with every append synced before it is acknowledged."""

    name = "kafka-fsync"
    storage = "files, fsync"
    default = False
    by_name_only = True
    more_properties = "log.flush.interval.messages=1\n"

    @property
    def place(self) -> Path:
        return BUILD / Kafka.name
