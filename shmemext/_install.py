# SPDX-License-Identifier: MIT
"""install(): ours in place of multiprocessing.shared_memory, for programs
that cannot be edited."""

import multiprocessing
import sys
from collections.abc import Callable
from functools import wraps
from multiprocessing import resource_tracker, spawn
from typing import Any

from . import _shmemext, shared_memory

_NAME = "multiprocessing.shared_memory"


class _Installer:
    """Unpickled first in a child that multiprocessing starts, it installs."""

    def __init__(self, path: list[str]) -> None:
        self.code = (
            f"import sys; sys.path[:] = {path!r}; "
            "from shmemext import _install; _install.install_in_child()"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self.code,)


class _Installation:
    """What install() changed, and what was there before."""

    def __init__(self, *, tracker_is_fresh: bool) -> None:
        self.tracker_is_fresh = tracker_is_fresh
        self.registered: set[str] = set()
        self.before: list[tuple[Any, str, Any]] = []
        self.stdlib = sys.modules.get(_NAME)
        sys.modules[_NAME] = shared_memory
        self.put(multiprocessing, "shared_memory", shared_memory)
        managers = sys.modules.get("multiprocessing.managers")
        if managers is not None:
            self.put(managers, "shared_memory", shared_memory)
        self.prepare = spawn.get_preparation_data
        self.register: Callable[[str, str], Any] = resource_tracker.register
        self.unregister: Callable[[str, str], Any] = (
            resource_tracker.unregister
        )
        self.put(spawn, "get_preparation_data", self.preparation_data)
        self.put(resource_tracker, "register", self.registering())
        self.put(resource_tracker, "unregister", self.on_unregister)

    def put(self, module: Any, name: str, value: Any) -> None:
        self.before.append((module, name, getattr(module, name, None)))
        setattr(module, name, value)

    def undo(self) -> None:
        for module, name, value in reversed(self.before):
            if value is None:
                delattr(module, name)
            else:
                setattr(module, name, value)
        managers = sys.modules.get("multiprocessing.managers")
        if getattr(managers, "shared_memory", None) is shared_memory:
            sys.modules.pop(_NAME)
            from importlib import import_module

            setattr(managers, "shared_memory", import_module(_NAME))  # noqa: B010
        elif self.stdlib is None:
            sys.modules.pop(_NAME, None)
        if self.stdlib is not None:
            sys.modules[_NAME] = self.stdlib

    def preparation_data(self, name: str) -> dict[str, Any]:
        data = self.prepare(name)
        path = data.get("sys_path", sys.path)
        return {"shmemext": _Installer(path), **data}

    def registering(self) -> Callable[[str, str], Any]:
        """In place of register(): a function, which can say whom it passes
        calls on to. One that does not keeps names from their family."""

        @wraps(self.register)
        def register(name: str, rtype: str) -> Any:
            return self.on_register(name, rtype)

        return register

    def on_register(self, name: str, rtype: str) -> Any:
        if rtype == "shared_memory":
            self.registered.add(name)
        return self.register(name, rtype)

    def on_unregister(self, name: str, rtype: str) -> Any:
        """A segment of ours is not the tracker's, which would print a
        traceback: to its creator this means track=False, to an attacher
        nothing."""
        if rtype != "shared_memory" or name in self.registered:
            self.registered.discard(name)
            return self.unregister(name, rtype)
        if _shmemext._disown(name) or self.tracker_is_fresh:
            return None
        return self.unregister(name, rtype)


_installation: _Installation | None = None


def install() -> None:
    """Put shmemext where multiprocessing.shared_memory is, in this process
    and in the children that multiprocessing starts from it.

    What was imported from there by name before keeps the stdlib's class.
    Calling it again does nothing. See uninstall().
    """
    global _installation
    if _installation is None:
        tracker: Any = resource_tracker._resource_tracker
        _installation = _Installation(tracker_is_fresh=tracker._fd is None)


def install_in_child() -> None:
    """The same, where nobody can have registered anything yet."""
    global _installation
    if _installation is None:
        _installation = _Installation(tracker_is_fresh=True)


def uninstall() -> None:
    """Put everything back. Does nothing without an install()."""
    global _installation
    if _installation is not None:
        _installation.undo()
        _installation = None
