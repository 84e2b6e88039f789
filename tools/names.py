"""Kafka's names as Python names, and which module a message goes to."""

from __future__ import annotations

import keyword
import re

from tools.kafka_schema import MessageDef


def snake(name: str) -> str:
    """ "TimeoutMs" -> "timeout_ms", "isKRaftController" -> "is_kraft_controller"."""
    name = name.replace("KRaft", "Kraft").replace("2Pc", "_2pc")
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return name + "_" if keyword.iskeyword(name) else name


def camel(name: str) -> str:
    """Kafka's name of a field in JSON: the first letter small."""
    return name[0].lower() + name[1:]


def api_name(message: MessageDef) -> str:
    """ "Produce" of "ProduceRequest"; a header's or data's own name."""
    return (
        message.name.removesuffix("Request").removesuffix("Response")
        if message.api_key is not None
        else message.name
    )


def module_name(message: MessageDef) -> str:
    """The module that holds a message: one an API, one a header or data message."""
    return snake(api_name(message))


def class_names(messages: list[MessageDef]) -> dict[tuple[str, str], str]:
    """(message, struct) -> class, for the messages of one module. Structs that clash are prefixed."""
    seen: dict[str, int] = {}
    for message in messages:
        for struct in message.structs:
            seen[struct] = seen.get(struct, 0) + 1
    names = {}
    for message in messages:
        for struct in message.structs:
            clashes = seen[struct] > 1 and struct != message.name
            names[message.name, struct] = message.name + struct if clashes else struct
    return names
