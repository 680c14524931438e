// SPDX-License-Identifier: MIT
// What extensions with pybind11 do: the address is taken once, the buffer is
// given back, and the object is kept.
#include <pybind11/pybind11.h>

namespace py = pybind11;

struct Holder {
    py::buffer kept;
    const char *address;
    py::ssize_t size;

    explicit Holder(py::buffer given) : kept(given)
    {
        py::buffer_info info = given.request();
        address = static_cast<const char *>(info.ptr);
        size = info.size * info.itemsize;
    }
};

PYBIND11_MODULE(holder, module)
{
    py::class_<Holder>(module, "Holder")
        .def(py::init<py::buffer>())
        .def("read", [](const Holder &self) {
            return py::bytes(self.address, static_cast<size_t>(self.size));
        });
}
