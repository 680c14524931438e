# SPDX-License-Identifier: MIT
"""install() for those who have not imported shmemext, .pth files first.

Nothing is imported here, and nothing of shmemext before somebody imports
multiprocessing.shared_memory, or starts a child that may. Until then this
module waits in sys.meta_path for the modules in which something is to be put.
"""

import sys

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    _Action = Callable[[Any], None]

_ABSENT = object()


class _Installer:
    """Unpickled first in a child that multiprocessing starts, it installs
    there too, if shmemext is to be had there."""

    def __init__(self, path: "list[str]") -> None:
        self.code = f"""\
import sys
sys.path[:] = {path!r}
try:
    import shmemext_hook
except ImportError:
    pass
else:
    shmemext_hook.install_in_child(
        {list(_packages)!r}, {_reserve!r}, {_handoff!r}
    )
"""

    def __reduce__(self) -> "tuple[Any, ...]":
        return exec, (self.code,)


class _Then:
    """A module's own loader, and what is done when it has loaded."""

    def __init__(self, loader: "Any", action: "_Action") -> None:
        self.loader = loader
        self.action = action

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.loader, name)

    def exec_module(self, module: "Any") -> None:
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.action(module)


class _Instead:
    """Loads ours in place of another module."""

    def __init__(self, action: "_Action") -> None:
        self.action = action

    def create_module(self, spec: "ModuleSpec") -> None:
        return None

    def exec_module(self, module: "ModuleType") -> None:
        # What is in sys.modules afterwards is what the import returns.
        del sys.modules[module.__name__]
        self.action(None)


class _Installation:
    """What is changed in multiprocessing, or in a package like it, and what
    was there before. A finder: it acts when a module is imported."""

    def __init__(self, package: str, *, tracker_is_fresh: bool) -> None:
        self.package = package
        self.tracker_is_fresh = tracker_is_fresh
        self.registered: set[str] = set()
        self.before: list[tuple[Any, str, Any]] = []
        self.name = f"{package}.shared_memory"
        self.theirs = sys.modules.get(self.name)
        self.ours: Any = None
        self.actions: dict[str, _Action] = {
            f"{package}.managers": self.mend_managers,
            f"{package}.resource_tracker": self.mend_tracker,
            f"{package}.spawn": self.mend_spawn,
            "shmemext.shared_memory": _pass_on_reserve,
        }
        if package == "multiprocessing":
            for name in _SENDERS:
                self.actions[name] = _begin_handoff
        sys.meta_path.insert(0, self)
        for name, action in self.actions.items():
            if name in sys.modules:
                action(sys.modules[name])
        if self.theirs is not None:
            self.replace(None)

    def find_spec(
        self, name: str, path: "Sequence[str] | None", target: "Any" = None
    ) -> "ModuleSpec | None":
        if name == self.name:
            from importlib.machinery import ModuleSpec

            instead: Any = _Instead(self.replace)
            return ModuleSpec(name, instead)
        if name not in self.actions:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find: Any = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(name, path, target)
            if spec is not None:
                then: Any = _Then(spec.loader, self.actions[name])
                spec.loader = then
                return spec
        return None

    def put(self, owner: "Any", name: str, value: "Any") -> None:
        self.before.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def undo(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for owner, name, value in reversed(self.before):
            if value is _ABSENT:
                if name in vars(owner):
                    delattr(owner, name)
            else:
                setattr(owner, name, value)
        if self.ours is None:
            return
        sys.modules.pop(self.name, None)
        if self.theirs is not None:
            sys.modules[self.name] = self.theirs
        managers: Any = sys.modules.get(f"{self.package}.managers")
        if managers is not None:  # it has a shared_memory, always
            from importlib import import_module

            managers.shared_memory = import_module(self.name)

    def replace(self, _: "Any") -> None:
        from shmemext import shared_memory

        self.ours = sys.modules[self.name] = shared_memory
        for name in self.package, f"{self.package}.managers":
            if name in sys.modules:
                self.put(sys.modules[name], "shared_memory", shared_memory)

    def mend_managers(self, managers: "Any") -> None:
        if hasattr(managers, "SharedMemoryManager"):
            from shmemext import _managed

            for kind in _managed.KINDS:
                for name, value in _managed.methods(kind):
                    self.put(getattr(managers, kind.__name__), name, value)

    def mend_spawn(self, spawn: "Any") -> None:
        prepare = spawn.get_preparation_data

        def get_preparation_data(name: str) -> "dict[str, Any]":
            # The child is to be of our family, also if nobody has had a use
            # for shared memory before it.
            import shmemext  # noqa: F401
            import shmemext_family

            shmemext_family.packages.add(self.package)
            if self.package == "multiprocessing":
                _begin_handoff(None)
            data: dict[str, Any] = prepare(name)
            path = data.get("sys_path", sys.path)
            return {
                "shmemext": _Installer(path),
                "shmemext_family": shmemext_family.Entry(),
                **data,
            }

        self.put(spawn, "get_preparation_data", get_preparation_data)

    def mend_tracker(self, tracker: "Any") -> None:
        """A segment of ours is not the tracker's, which would print a
        traceback: to its creator `unregister` means track=False, to an
        attacher nothing."""
        self.tracker_is_fresh |= tracker._resource_tracker._fd is None
        before = tracker.register, tracker.unregister

        def register(name: str, rtype: str) -> "Any":
            if rtype == "shared_memory":
                self.registered.add(name)
            return before[0](name, rtype)

        def unregister(name: str, rtype: str) -> "Any":
            if rtype != "shared_memory" or name in self.registered:
                self.registered.discard(name)
                return before[1](name, rtype)
            ours = sys.modules.get("shmemext._shmemext")
            if (ours and ours._disown(name)) or self.tracker_is_fresh:
                return None
            return before[1](name, rtype)

        # It passes all calls on, and says so: one that does not would mean
        # that nobody is to remove the names.
        setattr(register, "__wrapped__", before[0])  # noqa: B010
        self.put(tracker, "register", register)
        self.put(tracker, "unregister", unregister)


_packages: "dict[str, _Installation]" = {}
_reserve: "bool | None" = None
_handoff = False
_SENDERS = "multiprocessing.connection", "multiprocessing.queues"


def _pass_on_reserve(shared_memory: "Any") -> None:
    shared_memory._reserve_by_default(_reserve)


def _set_reserve(reserve: "bool | None") -> None:
    global _reserve
    _reserve = reserve
    if "shmemext.shared_memory" in sys.modules:
        _pass_on_reserve(sys.modules["shmemext.shared_memory"])


def _begin_handoff(loaded: "Any") -> None:
    """When one of those that send has been loaded. While another one is being
    loaded, it waits for that one's end."""
    for name in _SENDERS if _handoff else ():
        module: Any = sys.modules.get(name)
        if module is not None and module is not loaded:
            spec: Any = getattr(module, "__spec__", None)
            if getattr(spec, "_initializing", False):
                return
    if _handoff:
        from shmemext import handoff

        handoff.enable()


def _set_handoff() -> None:
    global _handoff
    if not _handoff:
        _handoff = True
        if any(name in sys.modules for name in _SENDERS):
            _begin_handoff(None)


def install(
    package: str = "multiprocessing",
    *,
    reserve: "bool | None" = None,
    handoff: bool = False,
) -> None:
    """As shmemext.install(), but nothing is imported: what is to be put into
    a module is put there when somebody imports it.

    For a .pth file: `import shmemext_hook; shmemext_hook.install()`.
    """
    if handoff and package != "multiprocessing":
        raise ValueError(f"handoff is for multiprocessing, not for {package}")
    if package not in _packages:
        _packages[package] = _Installation(package, tracker_is_fresh=False)
    if reserve is not None:
        _set_reserve(reserve)
    if handoff:
        _set_handoff()


def install_in_child(
    packages: "list[str]", reserve: "bool | None", handoff: bool
) -> None:
    """The same, where nobody can have registered anything yet."""
    for package in packages:
        if package not in _packages:
            _packages[package] = _Installation(package, tracker_is_fresh=True)
    _set_reserve(reserve)
    if handoff:
        _set_handoff()


def uninstall() -> None:
    """As shmemext.uninstall()."""
    global _handoff
    if _handoff:
        _handoff = False
        ours: Any = sys.modules.get("shmemext.handoff")
        if ours is not None:
            ours.disable()
    while _packages:
        _packages.popitem()[1].undo()
    _set_reserve(None)
