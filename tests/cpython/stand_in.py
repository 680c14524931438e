# SPDX-License-Identifier: MIT
"""Has `multiprocessing.shared_memory` mean `shmemext.shared_memory`.

A .pth file imports this when the interpreter starts, so it also works where
PYTHONPATH is ignored (-E, -I). Nothing of ours is imported before somebody
asks for the stdlib's module.
"""

import sys
from importlib.machinery import ModuleSpec


class StandIn:
    """Finds the one module, and is its loader too."""

    def find_spec(self, name, path=None, target=None):
        if name == "multiprocessing.shared_memory":
            return ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        import shmemext.shared_memory

        # What stands in sys.modules now is what the import returns, and what
        # becomes the attribute of the package.
        sys.modules[module.__name__] = shmemext.shared_memory


sys.meta_path.insert(0, StandIn())
