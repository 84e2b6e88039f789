"""Compiles kgw_core/records/_walk.c when a wheel is built or the workspace is installed in place.

Where that does not work, because there is no compiler for one, the package goes without it, as pure Python.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "kgw_core.records._walk"
SOURCE = "kgw_core/records/_walk.c"
API = "0x030b0000"
"""Python's limited API as of 3.11: what is compiled serves that version and all later ones."""


class CompileWalk(BuildHookInterface[Any]):
    """hatchling's hook around the building of a wheel; an installation in place is one to it."""

    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        self._folder = tempfile.TemporaryDirectory()
        limited = not sysconfig.get_config_var("Py_GIL_DISABLED")  # a free-threaded Python has no limited API
        try:
            made = compiled(Path(self.root), Path(self._folder.name), limited)
        except Exception as error:  # whatever it is, the package works without
            self.app.display_debug(f"{SOURCE} is left out: {error!r}")
            made = None
        if version == "editable":
            put_beside(Path(self.root, SOURCE), made)
        elif made is not None:
            build_data["force_include"][str(made)] = str(Path(SOURCE).with_name(made.name))
            build_data["pure_python"] = False
            if limited:
                platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
                build_data["tag"] = f"cp311-abi3-{platform}"
            else:
                build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def compiled(root: Path, folder: Path, limited: bool) -> Path | None:
    """Compile it into ``folder``; None if that fails."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension(
        NAME,
        [str(root / SOURCE)],
        include_dirs=[str((root / SOURCE).parent)],
        define_macros=[("Py_LIMITED_API", API)] if limited else [],
        py_limited_api=limited,
        optional=True,
    )
    command = build_ext(Distribution({"name": "kgw-core", "ext_modules": [extension]}))
    command.build_temp = command.build_lib = str(folder)
    command.ensure_finalized()
    command.run()
    made = folder / command.get_ext_filename(NAME)
    return made if made.exists() else None


def put_beside(source: Path, made: Path | None) -> None:
    """Put what was compiled where an installation in place finds it. What is older than the source goes."""
    newest = max(each.stat().st_mtime for each in source.parent.glob(f"{source.stem}.[ch]"))
    for old in source.parent.glob(f"{source.stem}.*"):
        if old.suffix in (".so", ".pyd") and old.stat().st_mtime < newest:
            old.unlink()
    if made is not None:
        beside = source.with_name(f"{made.name}.new")
        shutil.copy(made, beside)
        os.replace(beside, source.with_name(made.name))  # a gateway that runs keeps the one it has loaded
