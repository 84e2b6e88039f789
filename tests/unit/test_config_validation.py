"""Settings that are valid alone and wrong together: all problems are reported, with file, table and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgw_core.config import read_file, read_options
from kgw_core.config_validation import checked
from kgw_core.spi.settings import ConfigError


def problems(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    path = tmp_path / "kgw.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        checked(read_file(path, env or {}))
    return [problem.replace(str(path), "kgw.toml") for problem in caught.value.problems]


def test_what_is_wrong_anywhere_is_told_at_once(tmp_path: Path) -> None:
    text = """
    [limits]
    max_topics = "many"
    [topics]
    defaults.retention.ms = "soon"
    defaults.log.retention.hour = 4
    [[topics.create]]
    name = "two words"
    partitions = 0
    configs = { "cleanup.policy" = "shred" }
    [[topics.create]]
    partitions = 1
    [storage]
    use = "sqlit"
    [ledger]
    usee = "mine"
    [state]
    use = "sqlite"
    readers = 100
    pth = "x"
    """
    assert problems(tmp_path, text, {"KGW_TOPICS__DEFAULTS__RETENTION_BYTES": "lots"}) == [
        'kgw.toml: [limits] max_topics: expected a whole number, at least 1, at most 2147483647, got "many"',
        'kgw.toml: [[topics.create]] #1 "two words" partitions: '
        "expected a whole number, at least 1, at most 2147483647, got 0",
        "kgw.toml: [[topics.create]] #2 name: is missing; expected text, length at least 1",
        'kgw.toml: [topics.defaults] retention.ms: Invalid value "soon" for retention.ms: '
        "must be a whole number of at least -1",
        "kgw.toml: [topics.defaults] log.retention.hour: Unknown topic config name: log.retention.hour. "
        "Did you mean log.retention.hours?",
        'environment: KGW_TOPICS__DEFAULTS__RETENTION_BYTES: Invalid value "lots" for retention.bytes: '
        "must be a whole number",
        "kgw.toml: [[topics.create]] #1 \"two words\" name: Topic name is invalid: 'two words' contains one "
        "or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        'kgw.toml: [topics.create.configs] #1 "two words" cleanup.policy: Invalid value "shred" for '
        "cleanup.policy: must be a list of any of compact, delete",
        'kgw.toml: [storage] use: storage "sqlit" is not installed (did you mean "sqlite"?). '
        "Installed: memory, sqlite.",
        'kgw.toml: [ledger] usee: unknown key (did you mean "use"?); without use there are no settings',
        "kgw.toml: [state] readers: expected a whole number, at least 1, at most 16, got 100",
        'kgw.toml: [state] pth: unknown key; did you mean "path"?',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("listeners = []", "listeners: is empty: clients could not connect"),
        (
            "[[listeners]]\n[[listeners]]\nport = 0",
            '[[listeners]] #2 "PLAINTEXT" name: "PLAINTEXT" is the name of #1, too; each needs its own',
        ),
        (
            '[[listeners]]\n[[listeners]]\nname = "X"',
            '[[listeners]] #2 "X" port: 127.0.0.1:9092 is the address of #1, too; each needs its own',
        ),
        (
            '[[listeners]]\nhost = "unix:/a"\n[[listeners]]\nname = "X"\nhost = "unix:/a"\nport = 1',
            '[[listeners]] #2 "X" host: unix:/a is the address of #1, too; each needs its own',
        ),
        ('topics.create = [{name = "a"}, {name = "a"}]', '[[topics.create]] #2 "a" name: "a" is #1, too'),
        (
            'topics.create = [{name = "a.b"}, {name = "a_b"}]',
            '[[topics.create]] #2 "a_b" name: "a_b" is #1, too, "a.b": in metrics "." and "_" are the same',
        ),
        (
            'topics.create = [{name = "__kgw_state"}]',
            '[[topics.create]] #1 "__kgw_state" name: "__kgw_state" is the gateway\'s own',
        ),
        (
            '[topics.defaults]\n"min.compaction.lag.ms" = 9\n[[topics.create]]\nname = "a"\n'
            'configs = {"max.compaction.lag.ms" = 5}',
            '[topics.create.configs] #1 "a": conflict topic config setting: min.compaction.lag.ms (9) must '
            "not be more than max.compaction.lag.ms (5)",
        ),
        (
            "limits.max_partitions = 5\ntopics.num_partitions = 6",
            "[topics] num_partitions: 6 partitions of a topic are more than [limits] max_partitions (5)",
        ),
        (
            "limits.max_partitions = 5\n"
            'topics.create = [{name = "a", partitions = 3}, {name = "b", partitions = 3}]',
            '[[topics.create]] #2 "b" partitions: makes 6 partitions in all, '
            "more than [limits] max_partitions (5)",
        ),
        (
            'limits.max_topics = 1\ntopics.create = [{name = "a"}, {name = "b"}, {name = "c"}]',
            '[[topics.create]] #2 "b" partitions: makes 2 topics in all, more than [limits] max_topics (1)',
        ),
        (
            '[storage]\nues = "x"',
            '[storage] ues: unknown key (did you mean "use"?); storage "memory" has no settings',
        ),
        ("[storage]\nuse = 3\npath = 4", "[storage] use: expected text, got 3"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, text: str, told: str) -> None:
    assert problems(tmp_path, text) == [f"kgw.toml: {told}"]


def test_a_value_that_is_wrong_already_is_not_compared(tmp_path: Path) -> None:
    text = '[[listeners]]\nname = 5\nport = "x"\n[[listeners]]\n[[listeners]]\nname = "B"\nport = "y"'
    assert [problem.split(": expected")[0] for problem in problems(tmp_path, text)] == [
        "kgw.toml: [[listeners]] #1 name",
        "kgw.toml: [[listeners]] #1 port",
        'kgw.toml: [[listeners]] #3 "B" port',
    ]


def test_variables_and_options_are_told_by_their_names() -> None:
    env = {"KGW_STORAGE__USE": "memori", "KGW_STATE__USE": "memory"}
    with pytest.raises(ConfigError) as caught:
        checked(read_options(topics=["a b", "a:1", "a:200000"], env=env))
    assert list(caught.value.problems) == [
        "--topic a b: Topic name is invalid: 'a b' contains one or more characters other than ASCII "
        "alphanumerics, '.', '_' and '-'",
        '--topic a:200000: "a" is #2, too',
        'environment: KGW_STORAGE__USE: storage "memori" is not installed (did you mean "memory"?). '
        "Installed: memory, sqlite.",
        'environment: KGW_STATE__USE: state "memory" is not installed. Installed: sqlite.',
    ]


def test_right_settings_choose_their_plugins(tmp_path: Path) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text('[storage]\nuse = "sqlite"\n[[listeners]]\nport = 0\n[[listeners]]\nname = "B"\nport = 0')
    chosen = checked(read_file(path, {}))
    assert chosen.storage is not None
    assert chosen.storage.config.path == tmp_path / "kgw.db", "beside the file that does not name it"
    assert (chosen.ledger, chosen.state) == (None, None)


def test_internal_topics_take_no_part_of_what_there_may_be(tmp_path: Path) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text(
        "limits.max_topics = 1\nlimits.max_partitions = 2\n"
        'topics.create = [{name = "__consumer_offsets", partitions = 9}, {name = "a", partitions = 2}]'
    )
    checked(read_file(path, {}))
