# Shared by setup, enter and run: where things are, and which interpreter a name stands for.

CACHE=${SHMEMEXT_CI_CACHE:-/var/cache/shmemext-ci}
CHROOT=$CACHE/sid                       # Debian sid: the CPython versions that the host has not
I386=$CACHE/i386                        # Debian bookworm for i386, and its CPython: 32-bit words
FREE_THREADED=(3.14 3.13)               # versions tried for the free-threaded builds, best first

die() {
    echo "$0: $*" >&2
    exit 1
}

# A usable interpreter has its headers, pip for its virtual environments and the standard library's
# tests: without the first nothing builds, without the others `make test` fails half way.
usable() {
    [ -x "$1" ] && "$1" -c '
import os, sysconfig, venv, ensurepip, ctypes, ssl, test._test_multiprocessing
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null </dev/null
}

host_python() {
    local candidate
    for candidate in $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1" 2>/dev/null | sort -rV) \
                     "/usr/local/bin/python$1" "/usr/bin/python$1"; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# The path of the interpreter NAME inside sid's chroot; whether it works there is setup's business.
chroot_python() {
    local version=${1%%t*} path
    case $1 in
        *t-tsan | *t) path=/opt/python$1/bin/python${version}t ;;
        *) path=/opt/python$1/bin/python$1
           [ -x "$CHROOT$path" ] || path=/usr/bin/python$1 ;;
    esac
    [ -x "$CHROOT$path" ] && echo "$path"
}

# Where the interpreter of a name is, 3.12, 3.15, 3.14t, 3.14t-tsan, i386..., and its path there:
# "host PATH", or "FOLDER PATH" with the name of the chroot's folder in the cache.
find_python() {
    local path
    case $1 in
        i386)
            [ -x "$I386/usr/bin/python3" ] || return 1
            echo "i386 /usr/bin/python3"
            return ;;
        *t*) ;;
        *) if path=$(host_python "$1"); then
               echo "host $path"
               return
           fi ;;
    esac
    if path=$(chroot_python "$1"); then
        echo "$(basename "$CHROOT") $path"
        return
    fi
    return 1
}

# The free-threaded version that could be built on this machine.
free_threaded() {
    local version
    for version in "${FREE_THREADED[@]}"; do
        if chroot_python "${version}t" >/dev/null; then
            echo "$version"
            return
        fi
    done
    return 1
}
