"""Write the source of an encoder: ``(message, write) -> None``, where `write` takes one buffer.

One ``struct.Struct`` packs a run of fixed fields with the length that follows it. `bytes` and `records` are
passed to `write` without a copy. A field that is set and that the version lacks is refused unless Kafka marks
it ignorable.
"""

from __future__ import annotations

from kgw_core.wire.emit.text import Text, struct_name
from kgw_core.wire.plan import FieldPlan, StructPlan


def encoder_source(name: str, what: str, version: int, plan: StructPlan) -> Text:
    """The source of the function `name`. `what` names the message in errors."""
    cls = plan.cls.__name__
    text = _Encoding(what)
    text.use(cls)
    with text.block("try:"):
        text.struct(plan, "m")
        text.flush()
    with text.block(f"except {text.use('ENCODE_ERRORS')} as error:"):
        text.add(f"raise {text.use('unencodable')}(m, {version}, error) from error")
    text.lines.insert(0, f"def {name}(m: {cls}, write: {text.use('Write')}) -> None:")
    return text


class _Encoding(Text):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.writer = "write"

    def flush(self, length: str = "", long_form: str = "") -> None:
        """Write the run, and `n` after it: as format `length`, or as a varint by `long_form`."""
        run, self.run = self.run, []
        if long_form:
            if not run:
                varint = f"{self.use('UVARINT')}[n] if n < 128 else {self.use(long_form)}(n)"
                self.add(f"{self.writer}({varint})")
                return
            with self.block("if n < 128:"):
                self.pack([*run, ("n", "B")])
            with self.block("else:"):
                self.pack(run)
                self.add(f"{self.writer}({self.use(long_form)}(n))")
        elif length or run:
            self.pack([*run, ("n", length)] if length else run)

    def pack(self, run: list[tuple[str, str]]) -> None:
        formats = [format_ for _, format_ in run]
        if set(formats) == {"x"}:
            self.add(f'{self.writer}(b"{chr(92)}0"{"" if len(run) == 1 else f" * {len(run)}"})')
            return
        values = ", ".join(value for value, format_ in run if format_ != "x")
        self.add(f"{self.writer}({self.use(struct_name('pack', formats))}({values}))")

    def struct(self, plan: StructPlan, var: str) -> None:
        for field in plan.absent:
            if not field.ignorable:
                with self.block(f"if {self.differs(field, f'{var}.{field.attr}')}:"):
                    self.add(f'raise {self.use("unsupported")}("{self.what}", "{field.path}")')
        for field in plan.fields:
            self.field(field, f"{var}.{field.attr}")
        if plan.flexible:
            self.tags(plan, var)

    def differs(self, field: FieldPlan, value: str) -> str:
        """The condition that `value` is not the field's default."""
        if field.default == "None":
            return f"{value} is not None"
        if field.default == "[]":
            return f"{value} or {value} is None" if field.optional else value
        if field.default == "False":
            return value
        if field.default.endswith("()"):
            self.use(field.default[:-2])
        elif field.default == "ZERO_UUID":
            self.use("ZERO_UUID")
        return f"{value} != {field.default}"

    def is_default(self, field: FieldPlan, value: str) -> str:
        if field.default == "None":
            return f"{value} is None"
        if field.default == "[]" and not field.optional:
            return f"not {value}"
        return f"not ({self.differs(field, value)})"

    def field(self, field: FieldPlan, value: str) -> None:
        if field.kind == "fixed":
            if field.format == "16s":
                with self.block(f"if len({value}) != 16:"):
                    self.add(f'raise {self.use("bad_uuid")}("{field.path}")')
            self.run.append((value, field.format))
        elif field.kind == "array":
            self.array(field, value)
        elif field.kind == "struct":
            self.substruct(field, value)
        else:
            self.string(field, value)

    def not_none(self, field: FieldPlan, value: str) -> None:
        """Refuse None if another version has null and this one has not."""
        if field.optional and not field.nullable:
            with self.block(f"if {value} is None:"):
                self.add(f'raise {self.use("bad_null")}("{field.path}")')

    def string(self, field: FieldPlan, value: str) -> None:
        """Write a string, bytes or records."""
        more = " + 1" if field.compact else ""
        var = self.fresh("v")
        self.add(f"{var} = {value}")
        self.not_none(field, var)
        if field.kind == "string":
            data = self.fresh("s")
            if field.nullable:
                self.add(f'{data} = b"" if {var} is None else {var}.encode()')
                self.add(f"n = {self.null(field)} if {var} is None else len({data}){more}")
            else:
                self.add(f"{data} = {var}.encode()")
                self.add(f"n = len({data}){more}")
            self.length(field, "h", "string_length")
            self.add(f"{self.writer}({data})")
            return
        if field.kind == "bytes":
            null = f"{self.null(field)} if {var} is None else " if field.nullable else ""
            self.add(f"n = {null}len({var}){more}")
            self.length(field, "i", "uvarint")
            with self.block(f"if {var}:"):
                self.add(f"{self.writer}({var})")
            return
        if field.nullable:
            with self.block(f"if {var} is None:"):
                self.add(f"n = {self.null(field)}")
        with self.block(f"{'elif' if field.nullable else 'if'} isinstance({var}, list):"):
            self.add(f"n = sum(map(len, {var})){more}")
        with self.block("else:"):
            self.add(f"n = len({var}){more}")
        self.length(field, "i", "uvarint")
        with self.block(f"if isinstance({var}, list):"), self.block(f"for part in {var}:"):
            self.add(f"{self.writer}(part)")
        with self.block(f"elif {var}:"):
            self.add(f"{self.writer}({var})")

    def null(self, field: FieldPlan) -> str:
        return "0" if field.compact else "-1"

    def length(self, field: FieldPlan, classic: str, long_form: str) -> None:
        if field.compact:
            self.flush(long_form=long_form)
        else:
            self.flush(classic)

    def array(self, field: FieldPlan, value: str) -> None:
        element = field.element
        assert element is not None
        more = " + 1" if field.compact else ""
        items = self.fresh("a")
        self.add(f"{items} = {value}")
        self.not_none(field, items)
        null = f"{self.null(field)} if {items} is None else " if field.nullable else ""
        self.add(f"n = {null}len({items}){more}")
        self.length(field, "i", "uvarint")
        if element.kind == "fixed" and element.format != "16s":
            with self.block(f"if {items}:"):
                self.add(f'{self.writer}({self.use("pack")}(f">{{len({items})}}{element.format}", *{items}))')
            return
        item = self.fresh("m" if element.struct else "e")
        with self.block(f"for {item} in {items}{' or ()' if field.nullable else ''}:"):
            if element.struct is not None:
                self.struct(element.struct, item)
            else:
                self.field(element, item)
            self.flush()

    def substruct(self, field: FieldPlan, value: str) -> None:
        assert field.struct is not None
        var = self.fresh("m")
        self.add(f"{var} = {value}")
        if not field.nullable:
            self.not_none(field, var)
            self.struct(field.struct, var)
            return
        run, self.run = self.run, []
        with self.block(f"if {var} is None:"):
            self.pack([*run, ("-1", "b")])
        with self.block("else:"):
            self.run = [*run, ("1", "b")]
            self.struct(field.struct, var)
            self.flush()

    def tags(self, plan: StructPlan, var: str) -> None:
        """Write the tagged fields. If none is set, one test decides and a zero follows the run."""
        if not plan.tagged:
            self.run.append(("", "x"))
            return
        run, self.run = self.run, []
        none_set = " and ".join(self.is_default(field, f"{var}.{field.attr}") for _, field in plan.tagged)
        with self.block(f"if {none_set}:"):
            self.pack([*run, ("", "x")])
        with self.block("else:"):
            if run:
                self.pack(run)
            self.some_tags(plan, var)

    def some_tags(self, plan: StructPlan, var: str) -> None:
        section, count = self.fresh("section"), self.fresh("count")
        buffer = self.use("Buffer")
        self.add(f"{section}: list[{buffer}] = []")
        self.add(f"{count} = 0")
        writer = self.writer
        for number, field in plan.tagged:
            value = f"{var}.{field.attr}"
            condition = self.differs(field, value)
            if field.kind == "struct" and not field.nullable and field.default == "None":
                assert field.struct is not None
                condition += f" and {value} != {self.use(field.struct.cls.__name__)}()"
            with self.block(f"if {condition}:"):
                content = self.fresh("content")
                self.add(f"{content}: list[{buffer}] = []")
                self.writer = f"{content}.append"
                self.field(field, value)
                self.flush()
                self.writer = writer
                self.add(f"{self.use('add_tag')}({section}, {number}, {content})")
                self.add(f"{count} += 1")
        self.add(f"{self.writer}({self.use('uvarint')}({count}))")
        with self.block(f"for part in {section}:"):
            self.add(f"{self.writer}(part)")
