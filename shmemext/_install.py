# SPDX-License-Identifier: MIT
"""install(): ours in place of multiprocessing.shared_memory, for programs
that cannot be edited. The work is shmemext_hook's, at the top level, because
it is to be had without importing all of this package."""

from importlib import import_module

import shmemext_hook


def install(
    package: str = "multiprocessing",
    *,
    reserve: bool | None = None,
    handoff: bool = False,
) -> None:
    """Put shmemext where multiprocessing.shared_memory is, in this process
    and in the children that multiprocessing starts from it.

    What was imported from there by name before keeps the stdlib's class.
    Calling it again does nothing, but for what is new in the arguments.

    package: may be a copy of multiprocessing under another name, such as
        dill's multiprocess
    reserve: what SharedMemory does from now on where nobody says reserve=;
        None leaves it to the environment, which says SHMEMEXT_RESERVE=0 for
        False
    handoff: True is handoff.enable(), in all of these processes; for
        multiprocessing alone, not for copies of it

    ModuleNotFoundError: there is no such package. ValueError: it has no
    handoff. See uninstall()."""
    import_module(package)
    shmemext_hook.install(package, reserve=reserve, handoff=handoff)
    import_module(f"{package}.shared_memory")


def uninstall() -> None:
    """Put everything back. Does nothing without an install()."""
    shmemext_hook.uninstall()
