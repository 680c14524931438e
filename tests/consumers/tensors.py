# SPDX-License-Identifier: MIT
"""Tensors of torch over arrays of shared memory, and back: `make consumers`.

Nothing of ours knows torch: a tensor is made of a numpy array, and gives one
again, whose memory is found by its address."""

import pytest
from conftest import python

pytest.importorskip("torch", reason="not installed: torch")

TENSORS = {
    "from_numpy": "torch.from_numpy(array)",
    "as_tensor": "torch.as_tensor(array)",
    "from_dlpack": "torch.from_dlpack(array)",
    "frombuffer": "torch.frombuffer(array, dtype=torch.float64).view(4, 6)",
}
ARRAYS = [
    "tensor.numpy()",
    "tensor[1:, ::2].numpy()",
    "tensor.T.numpy()",
    "numpy.from_dlpack(tensor)",
    "numpy.asarray(tensor)",
]
PRELUDE = """
import gc, multiprocessing, sys
import numpy
import torch
from shmemext import _pools, arrays

def add_one(array):
    array += 1

def add_to_tensor(array):
    torch.from_numpy(array).add_(1)
"""


@pytest.mark.parametrize("tensor", TENSORS)
def test_tensor_is_the_memory_and_keeps_it(tensor):
    python(
        PRELUDE
        + f"""
array = arrays.zeros((4, 6))
tensor = {TENSORS[tensor]}
tensor[1, 2] = 5
assert array[1, 2] == 5
del array
gc.collect()
others = [arrays.ones((4, 6)) for _ in range(8)]
assert tensor.sum() == 5 and _pools.stats()["held"] == 9
del tensor, others
gc.collect()
assert _pools.stats()["held"] == 0
"""
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_array_of_a_tensor_travels_by_reference(method, tmp_path):
    """And a tensor that is made of it there writes here."""
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE
        + f"""
if __name__ == "__main__":
    tensor = torch.from_numpy(arrays.zeros((4, 6)))
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        for part in [{", ".join(ARRAYS)}]:
            tensor.zero_()
            pool.apply(add_one, (part,))
            pool.apply(add_to_tensor, (part,))
            assert (part == 2).all() and tensor.sum() == 2 * part.size
"""
    )
    python(f"import runpy; runpy.run_path({str(program)!r}, None, '__main__')")


def test_named_array_is_a_tensor_too(name):
    python(
        PRELUDE
        + """
made = torch.from_numpy(arrays.create(sys.argv[1], (3, 4), "f4"))
made += 2
assert (arrays.open(sys.argv[1]) == 2).all()
arrays.unlink(sys.argv[1])
gc.collect()
assert made.sum() == 24
""",
        name,
    )
