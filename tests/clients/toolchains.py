"""Client programs in other languages: what there is, in which versions, and how each is built.

A program is built once a version, into ``build/`` beside this file (git ignores it), and again only when its
sources, the libraries it asks for, or the tools change. All programs are called the same way::

    PROGRAM BOOTSTRAP SCENARIO [TOPIC]

They print one JSON object a line for each thing they compared, and exit with 0 only if everything was right.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
IGNORED = shutil.ignore_patterns("build", "target", "node_modules")

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class BuildError(Exception):
    """A program could not be built; the message holds what the tool printed."""


@dataclass(frozen=True)
class Version:
    """What makes up one version of a client, and what it can do.

    ``libraries``: as the build wants them named. ``codecs``: those it writes and reads. ``headers``: records
    have them.
    """

    libraries: tuple[str, ...]
    codecs: tuple[str, ...] = CODECS
    headers: bool = True


@dataclass(frozen=True, eq=False)
class Client:
    """A client library and the program that uses it.

    ``current``: the first of its versions is the one of its language that runs everywhere; the others, and
    all of a client that is not current, run with the mark ``matrix`` only.
    """

    name: str
    tools: tuple[str, ...]
    folders: tuple[str, ...]
    versions: Mapping[str, Version]
    build: Callable[[Client, str, Path], list[str]]
    current: bool = True

    @property
    def newest(self) -> str:
        """The version that runs by default."""
        return next(iter(self.versions))

    def everywhere(self, version: str) -> bool:
        """Whether this version runs without the mark ``matrix``."""
        return self.current and version == self.newest

    def missing(self) -> list[str]:
        """The tools that are not there."""
        return [tool for tool in self.tools if shutil.which(tool) is None]


@dataclass(frozen=True)
class Program:
    """A program that is ready to run."""

    client: Client
    version: str
    command: tuple[str, ...]

    def run(self, *arguments: str, stdin: str = "", timeout: float = 60) -> Outcome:
        """Run it to its end."""
        began = time.monotonic()
        done = subprocess.run(
            [*self.command, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout
        )
        lines = tuple(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        return Outcome(done.returncode, lines, done.stdout, done.stderr, time.monotonic() - began)


@dataclass(frozen=True)
class Outcome:
    """How a program ended. ``lines``: the JSON objects it printed."""

    status: int
    lines: tuple[Mapping[str, object], ...]
    stdout: str
    stderr: str
    seconds: float

    def explain(self) -> str:
        """What a person needs to see when it failed: failures first, then the last of what it said."""
        wrong = [json.dumps(line) for line in self.lines if line.get("ok") is not True]
        said = (self.stdout[-3000:], self.stderr[-3000:])
        return "\n".join([f"exit status {self.status}", *wrong[:20], "--- said:", *said])


def ready(client: Client, version: str) -> Program:
    """The program of ``client`` at ``version``, built unless it is there already.

    :raises BuildError: the tools are there, but the build failed.
    """
    place = BUILD / f"{client.name}-{version}"
    place.mkdir(parents=True, exist_ok=True)
    stamp = place / "stamp.json"
    with _alone(place):
        print_of = _fingerprint(client, version)
        if stamp.exists():
            known = json.loads(stamp.read_text())
            if known["fingerprint"] == print_of:
                return Program(client, version, tuple(known["command"]))
            stamp.unlink()
        sources = place / "src"
        shutil.rmtree(sources, ignore_errors=True)
        for folder in client.folders:
            shutil.copytree(HERE / folder, sources / Path(folder).name, ignore=IGNORED)
        command = client.build(client, version, sources)
        stamp.write_text(json.dumps({"fingerprint": print_of, "command": command}))
    return Program(client, version, tuple(command))


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Two test runs in one tree do not build the same program at once."""
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(client: Client, version: str) -> str:
    digest = hashlib.sha256(repr((version, client.versions[version].libraries)).encode())
    digest.update(Path(__file__).read_bytes())
    for tool in client.tools:
        digest.update(os.path.realpath(shutil.which(tool) or tool).encode())
    for folder in client.folders:
        for path in sorted((HERE / folder).rglob("*")):
            if path.is_file() and not {"build", "target", "node_modules"} & set(path.parts):
                digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _call(command: Sequence[str], where: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=where, env=os.environ | environment, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def go_build(client: Client, version: str, sources: Path) -> list[str]:
    """Build a Go module; the modules of ``version`` are asked for if its go.mod has others."""
    module = sources / Path(client.folders[0]).name
    declared = dict(pairwise((module / "go.mod").read_text().split()))
    if any(declared.get(name) != at for name, at in _modules(client, version)):
        _call(["go", "get", *client.versions[version].libraries], module, GOFLAGS="-mod=mod")
        _call(["go", "mod", "tidy"], module, GOFLAGS="-mod=mod")
    program = sources.parent / "program"
    _call(["go", "build", "-trimpath", "-buildvcs=false", "-o", str(program), "."], module)
    return [str(program)]


def _modules(client: Client, version: str) -> Iterator[tuple[str, str]]:
    for wanted in client.versions[version].libraries:
        name, _, at = wanted.partition("@")
        yield name, at


def maven_build(client: Client, version: str, sources: Path) -> list[str]:
    """Compile a Maven project and ask for its class path; the version's properties pick the client."""
    project = sources / Path(client.folders[0]).name
    classes, paths = project / "target" / "classes", project / "target" / "classpath"
    _call(
        [
            *("mvn", "-q", "-B", *(f"-D{wanted}" for wanted in client.versions[version].libraries)),
            *("compile", "dependency:build-classpath", f"-Dmdep.outputFile={paths}"),
        ],
        project,
    )
    quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", *quick, quiet, "-cp", f"{classes}{os.pathsep}{paths.read_text().strip()}", "kgw.Main"]


def npm_build(client: Client, version: str, sources: Path) -> list[str]:
    """Install a Node package's dependencies beside it, those of ``version`` in place of what it names."""
    project = sources / Path(client.folders[0]).name
    package = json.loads((project / "package.json").read_text())
    for wanted in client.versions[version].libraries:
        name, _, at = wanted.rpartition("@")
        package["dependencies"][name] = at
    (project / "package.json").write_text(json.dumps(package))
    _call(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"], project)
    return ["node", str(project / "main.js")]


def connect_build(client: Client, version: str, sources: Path) -> list[str]:
    """Fetch Kafka Connect: what comes out is a worker, which takes a file of properties."""
    *java, _ = maven_build(client, version, sources)
    told = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.connect.runtime.rest.RestServer=info"
    return [*java, told, "org.apache.kafka.connect.cli.ConnectDistributed"]


def tools_build(client: Client, version: str, sources: Path) -> list[str]:
    """Fetch Kafka's command line tools: what comes out takes the class of one, and its arguments."""
    *java, _ = maven_build(client, version, sources)
    return [*java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]


def pip_build(client: Client, version: str, sources: Path) -> list[str]:
    """Install Python libraries into a virtual environment of the program's own."""
    python = sources.parent / "venv" / "bin" / "python"
    _call([sys.executable, "-m", "venv", "--clear", str(python.parents[1])], sources)
    wanted = client.versions[version].libraries
    _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], sources)
    return [str(python), "-W", "ignore", str(sources / client.folders[0] / "main.py")]


KAFKA_GO = Client(
    name="kafka-go",
    tools=("go",),
    folders=("go/kafka-go", "go/check"),
    versions={"v0.4.51": Version(("github.com/segmentio/kafka-go@v0.4.51",))},
    build=go_build,
)
FRANZ_GO = Client(
    name="franz-go",
    tools=("go",),
    folders=("go/franz-go", "go/check"),
    versions={
        "v1.22.2": Version(
            ("github.com/twmb/franz-go@v1.22.2", "github.com/twmb/franz-go/pkg/kadm@v1.19.0"),
        ),
    },
    build=go_build,
)
SARAMA = Client(
    name="sarama",
    tools=("go",),
    folders=("go/sarama", "go/check"),
    versions={"v1.61.1": Version(("github.com/IBM/sarama@v1.61.1",))},
    build=go_build,
)
JAVA = Client(
    name="kafka-clients",
    tools=("java", "mvn"),
    folders=("java",),
    versions={"4.4.0": Version(("kafka.version=4.4.0",))},
    build=maven_build,
)
BEFORE_ZSTD = ("none", "gzip", "snappy", "lz4")
JAVA_OLD = Client(
    name="kafka-clients-old",
    tools=("java", "mvn"),
    folders=("java-old",),
    versions={
        "0.10.2.2": Version(("kafka.version=0.10.2.2", "extras=plain"), BEFORE_ZSTD, headers=False),
        "0.11.0.3": Version(("kafka.version=0.11.0.3", "extras=headers"), BEFORE_ZSTD),
        "1.1.1": Version(("kafka.version=1.1.1", "extras=headers"), BEFORE_ZSTD),
        "2.0.1": Version(("kafka.version=2.0.1", "extras=headers"), BEFORE_ZSTD),
        "2.8.2": Version(("kafka.version=2.8.2", "extras=headers")),
        "3.9.1": Version(("kafka.version=3.9.1", "extras=headers")),
    },
    build=maven_build,
    current=False,
)
KAFKAJS = Client(
    name="kafkajs",
    tools=("node", "npm"),
    folders=("node",),
    versions={"2.2.4": Version(("kafkajs@2.2.4",), codecs=("none", "gzip"))},
    build=npm_build,
)
STREAMS = Client(
    name="kafka-streams",
    tools=("java", "mvn"),
    folders=("java-streams",),
    versions={
        "4.3.1": Version(("kafka.version=4.3.1",)),
        "3.9.1": Version(("kafka.version=3.9.1",)),
    },
    build=maven_build,
)
CONNECT = Client(
    name="kafka-connect",
    tools=("java", "mvn"),
    folders=("java-connect",),
    versions={"4.3.1": Version(("kafka.version=4.3.1",))},
    build=connect_build,
    current=False,
)
KAFKA_TOOLS = Client(
    name="kafka-tools",
    tools=("java", "mvn"),
    folders=("java-tools",),
    versions={"4.4.0": Version(("kafka.version=4.4.0",))},
    build=tools_build,
)
PLATFORMATIC = Client(
    name="platformatic-kafka",
    tools=("node", "npm"),
    folders=("node-platformatic",),
    versions={"1.35.0": Version(("@platformatic/kafka@1.35.0",))},
    build=npm_build,
    current=False,
)
QUIXSTREAMS = Client(
    name="quixstreams",
    tools=(),
    folders=("python-quixstreams",),
    versions={"3.28.1": Version(("quixstreams==3.28.1", "confluent-kafka==2.12.2"))},
    build=pip_build,
    current=False,
)
FAUST = Client(
    name="faust-streaming",
    tools=(),
    folders=("python-faust",),
    versions={"0.15.3": Version(("faust-streaming==0.15.3", "aiokafka==0.14.0"))},
    build=pip_build,
    current=False,
)

CLIENTS = (KAFKA_GO, JAVA, JAVA_OLD, FRANZ_GO, SARAMA, KAFKAJS)
"""They write for each other, and share groups."""
ALONE = (STREAMS, CONNECT, KAFKA_TOOLS, PLATFORMATIC, QUIXSTREAMS, FAUST)
"""They have scenarios of their own only."""


def topic_of(client: Client, version: str) -> str:
    """The topic that the client writes to for the other clients, with a partition for each codec."""
    return f"between-clients-{client.name}-{version}"
