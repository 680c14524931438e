#!/bin/bash
# SPDX-License-Identifier: MIT
# The tests under a sanitizer, in a virtual environment of their own.
#
#   tests/sanitize.sh address PYTHON [PYTEST ARGUMENT...]
#   tests/sanitize.sh thread PYTHON [PYTEST ARGUMENT...]
#
# address: AddressSanitizer and UndefinedBehaviorSanitizer in the extension,
# Python's memory from malloc() so that both see it. All tests run.
#
# thread: PYTHON is a free-threaded build of CPython with ThreadSanitizer.
# The thread tests run, and a report that names our extension fails them;
# CPython's own races are its own.
#
# SHMEMEXT_SANITIZER tells the tests which one they run under.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '5,6s/^# *//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
sanitizer=$1
python=$2
shift 2
[ "$(uname -s)" = Linux ] || { echo "$0: needs Linux" >&2; exit 2; }
compiler=${CC:-gcc}

# The interpreter's name is part of the place: what one built is no use to
# another.
tag=$("$python" -c 'import sys, sysconfig
print(sys.implementation.cache_tag + sys.abiflags)')
venv=.venv-$sanitizer-$tag
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore

prepare() {
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade pip
    "$venv/bin/python" -m pip install --quiet --prefer-binary \
        'setuptools>=77' --group test
}

# A copy of the sources, so that the extension of the checkout stays as it is;
# what was compiled of them before stays too, in build. The flags are the compiler's, because the reaper is linked by it alone.
build() {
    local tree=$venv/tree
    export CC="$compiler $1" CFLAGS="-g -O1 -fno-omit-frame-pointer"
    mkdir -p "$tree"
    find "$tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    tar c --exclude='./.venv*' --exclude=./.git --exclude='*.so' --exclude=build --exclude=dist \
        --exclude='*.egg-info' --exclude=__pycache__ . | tar x -C "$tree"
    cd "$tree"
    "$python" setup.py --quiet build_ext --inplace
    unset PYTHONWARNINGS CC CFLAGS
    export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
}

address() {
    prepare
    python=$PWD/$venv/bin/python
    build "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
    # libstdc++ is numpy's: loaded later, its exceptions end in a crash
    export SHMEMEXT_SANITIZER=address PYTHONMALLOC=malloc
    # a SIGBUS is the guard's, or deadly as it is without ASan
    export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_sigbus=0
    export UBSAN_OPTIONS=print_stacktrace=1
    LD_PRELOAD="$($compiler -print-file-name=libasan.so)"
    LD_PRELOAD+=" $($compiler -print-file-name=libubsan.so)"
    LD_PRELOAD+=" $($compiler -print-file-name=libstdc++.so.6)"
    export LD_PRELOAD
    exec "$python" -m pytest "$@"
}

# Of the reports of ThreadSanitizer, those that name the extension. The
# interpreter counts the views of a memoryview without a lock: a race of two
# accesses there is its own, also when the last view goes in our code. And a
# descriptor's number may be closed while it is looked at: what is found by it
# is compared with the file that is mapped, see memory_place.c. So is what was
# seen in a ring without its lock with where it was, see ring_look.c.
ours='
function tell() {
    if (named && !glance && !(accesses > 0 && accesses == counting) && !(looking && number))
        printf "%s", report
    report = ""
    named = accesses = counting = looking = number = glance = 0
}
/^=====/ { tell() }
{ report = report $0 "\n" }
/_shmemext|csrc\/(core|py)\// { named = 1 }
/ glance .*ring_look\.c/ { glance = 1 }
/ shx_place_inspect / { looking = 1 }
/Location is file descriptor/ { number = 1 }
accessed { accesses++; counting += /Objects\/memoryobject\.c/ }
{ accessed = / of size [0-9]+ at / }
END { tell() }'

thread() {
    "$python" -c 'import sys, sysconfig
flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
sys.exit("--with-thread-sanitizer" not in flags)' || {
        echo "$0: $python is no build with ThreadSanitizer" >&2
        exit 2
    }
    # pip takes many minutes in such a build: any other Python's will do for
    # what is Python only
    local helper
    helper=$(command -v python3 python3.{15..11} | head -n 1)
    python=$(command -v "$python")
    [ -x "$venv/bin/python" ] || "$helper" -m venv "$venv"
    [ -d "$venv/pure" ] || "$venv/bin/python" -m pip install --quiet \
        --target "$venv/pure" pytest 'setuptools>=77'
    export PYTHONPATH=$PWD/$venv/pure
    TSAN_OPTIONS=report_bugs=0 build -fsanitize=thread
    # its clone() does not take a stack that is shared: start no reaper
    chmod -x shmemext/shmemext-reaper
    export TSAN_OPTIONS="${TSAN_OPTIONS:-} exitcode=0 history_size=4"

    reports=$(mktemp -d)
    trap 'rm -rf "$reports"' EXIT
    export SHMEMEXT_SANITIZER=thread PYTHON_GIL=0
    TSAN_OPTIONS="$TSAN_OPTIONS log_path=$reports/race" \
        "$python" -m pytest tests/test_threads.py tests/test_channel_threads.py "$@"
    if find "$reports" -type f -exec awk "$ours" {} + | grep .; then
        echo "$0: reports name the extension, see above" >&2
        exit 1
    fi
    echo "$0: $(find "$reports" -type f | wc -l) processes had reports," \
        "none of which names the extension"
}

case $sanitizer in
    address | thread) "$sanitizer" "$@" ;;
    *) usage ;;
esac
