"""Write the source of a decoder: ``(buf: memoryview, pos: int) -> (message, pos)``.

In that source one ``unpack`` reads a run of fixed fields into attributes, together with the first byte of the
length that follows. Each length and count is checked against the bytes left before it is used. Arrays are
loops, and structs are inline.
"""

from __future__ import annotations

from kgw_core.wire.emit.text import Text, size_of, struct_name
from kgw_core.wire.plan import FieldPlan, StructPlan, min_size

STEP = 500
"""How many entries a stepwise decoder reads before it yields."""


def decoder_source(name: str, what: str, plan: StructPlan, *, in_steps: bool = False) -> Text:
    """The source of the function `name`. `what` names the message in errors ("ProduceRequest v9").

    With `in_steps` the function is a generator that yields after each :data:`STEP` entries. It also takes
    `left`, how many entries all arrays and tagged sections may have together, and returns the rest of it.
    """
    cls = plan.cls.__name__
    text = _Decoding()
    text.in_steps = in_steps
    text.use(cls)
    with text.block("try:"):
        text.add(f"m = {text.use('new')}({cls})")
        text.struct(plan, "m")
        text.flush()
        text.add("return m, pos, left" if in_steps else "return m, pos")
    with text.block(f"except {text.use('DECODE_ERRORS')} as error:"):
        text.add(f'raise {text.use("malformed")}("{what}", pos, error) from error')
    head = [f"def {name}(buf: memoryview, pos: int) -> tuple[{cls}, int]:"]
    if in_steps:
        head = [
            f"def {name}(buf: memoryview, pos: int, left: int) -> Iterator[None]:",
            f"    rest = {STEP}",
            "    if rest == 0:  # never true: makes this a generator also if the message has no array",
            "        yield",
        ]
    if any("size" in line for line in text.lines):
        head.append("    size = len(buf)")
    text.lines[:0] = head
    return text


class _Decoding(Text):
    in_steps = False

    def count(self) -> None:
        """Count `n` entries against the limit."""
        if self.in_steps:
            self.add("left -= n")
            with self.block("if left < 0:"):
                self.add(f"raise {self.use('too_many')}(left)")

    def flush(self, length: str = "") -> None:
        """Read the run, and a number of format `length` after it into `n`."""
        run = [*self.run, ("n", length)] if length else self.run
        self.run = []
        if not run:
            return
        formats = [format_ for _, format_ in run]
        if formats == ["B"]:
            self.add("n = buf[pos]")
        else:
            targets = ", ".join(target for target, _ in run)
            targets = f"({targets},)" if len(run) == 1 else targets
            self.add(f"{targets} = {self.use(struct_name('unpack', formats))}(buf, pos)")
        self.add(f"pos += {size_of(formats)}")

    def struct(self, plan: StructPlan, var: str) -> None:
        """Read all fields of the struct in `var`, an object that exists. May leave a run unread."""
        for field in [*plan.absent, *(field for _, field in plan.tagged)]:
            default = field.default
            if default.endswith("()"):
                self.use(default[:-2])
            elif default.isupper():
                self.use(default)
            self.add(f"{var}.{field.attr} = {default}")
        for field in plan.fields:
            self.field(field, f"{var}.{field.attr}")
        if plan.flexible:
            self.tags(plan, var)

    def field(self, field: FieldPlan, target: str) -> None:
        if field.kind == "fixed":
            self.run.append((target, field.format))
        elif field.kind == "array":
            self.array(field, target)
        elif field.kind == "struct":
            self.substruct(field, target)
        else:
            self.string(field, target)

    def string(self, field: FieldPlan, target: str) -> None:
        """Read a string, bytes or records."""
        self.flush("B" if field.compact else "h" if field.kind == "string" else "i")
        if field.compact:
            reader = self.use("read_string_length" if field.kind == "string" else "read_uvarint")
            with self.block("if n > 127:"):
                self.add(f"n, pos = {reader}(buf, pos - 1)")
        if field.nullable:
            with self.block("if n == 0:" if field.compact else "if n == -1:"):
                self.add(f"{target} = None")
            with self.block("else:"):
                self.slice(field, target)
        else:
            self.slice(field, target)

    def slice(self, field: FieldPlan, target: str) -> None:
        length = "n - 1" if field.compact else "n"
        self.add(f"end = pos + {length}")
        check = "end > size" if field.compact and field.nullable else "not pos <= end <= size"
        with self.block(f"if {check}:"):
            self.add(f'raise {self.use("bad_length")}("{field.path}", {length}, size - pos)')
        value = {
            "string": 'str(buf[pos:end], "utf-8")',
            "bytes": "buf[pos:end].tobytes()",
            "records": "buf[pos:end]",
        }[field.kind]
        self.add(f"{target} = {value}")
        self.add("pos = end")

    def array(self, field: FieldPlan, target: str) -> None:
        self.flush("B" if field.compact else "i")
        if field.compact:
            with self.block("if n > 127:"):
                self.add(f"n, pos = {self.use('read_uvarint')}(buf, pos - 1)")
            self.add("n -= 1")
        if field.nullable:
            with self.block("if n == -1:"):
                self.add(f"{target} = None")
            with self.block("else:"):
                self.elements(field, target)
        else:
            self.elements(field, target)

    def elements(self, field: FieldPlan, target: str) -> None:
        element = field.element
        assert element is not None
        least = min_size(element)
        needed = f"n * {least}" if least > 1 else "n"
        with self.block(f"if not 0 <= {needed} <= size - pos:"):
            self.add(f'raise {self.use("bad_count")}("{field.path}", n, size - pos)')
        self.count()
        if element.kind == "fixed":
            if element.format == "16s":
                self.add(f"{target} = [buf[i : i + 16].tobytes() for i in range(pos, pos + n * 16, 16)]")
            else:
                self.add(f'{target} = list({self.use("unpack_from")}(f">{{n}}{element.format}", buf, pos))')
            self.add(f"pos += {needed}")
            return
        items = self.fresh("a")
        kind = "str" if element.kind == "string" else "bytes"
        if element.struct is not None:
            kind = self.use(element.struct.cls.__name__)
        self.add(f"{items}: list[{kind}] = []")
        self.add(f"{target} = {items}")
        with self.block("for _ in range(n):"):
            if self.in_steps:
                self.add("rest -= 1")
                with self.block("if not rest:"):
                    self.add(f"rest = {STEP}")
                    self.add("yield")
            if element.struct is not None:
                var = self.fresh("m")
                self.add(f"{var} = {self.use('new')}({kind})")
                self.add(f"{items}.append({var})")
                self.struct(element.struct, var)
                self.flush()
            else:
                item = self.fresh("s")
                self.string(element, item)
                self.add(f"{items}.append({item})")

    def substruct(self, field: FieldPlan, target: str) -> None:
        assert field.struct is not None
        var, cls = self.fresh("m"), self.use(field.struct.cls.__name__)
        if not field.nullable:
            self.add(f"{var} = {self.use('new')}({cls})")
            self.add(f"{target} = {var}")
            self.struct(field.struct, var)
            return
        self.flush("b")
        with self.block("if n < 0:"):
            self.add(f"{target} = None")
        with self.block("else:"):
            self.add(f"{var} = {self.use('new')}({cls})")
            self.add(f"{target} = {var}")
            self.struct(field.struct, var)
            self.flush()

    def tags(self, plan: StructPlan, var: str) -> None:
        """Read the tagged fields. As in Kafka they may come in any order, and the last of two equal tags
        counts."""
        self.flush("B")
        if not plan.tagged:
            with self.block("if n:"):
                if self.in_steps:
                    self.add(f"n, _ = {self.use('read_uvarint')}(buf, pos - 1)")
                    self.count()
                self.add(f"pos = {self.use('skip_tags')}(buf, pos - 1)")
            return
        reader = self.use("read_uvarint")
        tag, length, end = self.fresh("tag"), self.fresh("length"), self.fresh("end")
        with self.block("if n:"):
            self.add(f"n, pos = {reader}(buf, pos - 1)")
            self.count()
            with self.block("for _ in range(n):"):
                self.add(f"{tag}, pos = {reader}(buf, pos)")
                self.add(f"{length}, pos = {reader}(buf, pos)")
                self.add(f"{end} = pos + {length}")
                with self.block(f"if {end} > size:"):
                    self.add(f'raise {self.use("bad_length")}("a tagged field", {length}, size - pos)')
                for i, (number, field) in enumerate(plan.tagged):
                    with self.block(f"{'elif' if i else 'if'} {tag} == {number}:"):
                        self.field(field, f"{var}.{field.attr}")
                        self.flush()
                with self.block("else:"):
                    self.add(f"pos = {end}")
                with self.block(f"if pos != {end}:"):
                    self.add(f"raise {self.use('bad_tag')}({tag}, {length}, {length} + pos - {end})")
