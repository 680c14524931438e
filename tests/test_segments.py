# SPDX-License-Identifier: MIT
"""shmemext.segments() and collect(), and what they make of ledgers."""

import dataclasses
import fcntl
import json
import os
import pickle
import sys
import time
import types
from datetime import timedelta
from pathlib import Path

import machine as machines
import pytest
from conftest import DEV_SHM, python
from machine import NOBODY

import shmemext
from shmemext import SharedMemory, _ledgers, _survey, lifetime


def find(name):
    (found,) = [one for one in shmemext.segments() if one.name == name]
    return found


def in_there(machine, code, *args, **options):
    """What the code printed as JSON, run on the machine."""
    done = machine.run(
        "-c", f"import json, shmemext, sys\n{code}", *args, **options
    )
    return json.loads(done.stdout)


def kind_in(machine, name, **options):
    return in_there(
        machine,
        "print(json.dumps([[s.kind, s.family and s.family.alive]"
        " for s in shmemext.segments() if s.name == sys.argv[1]]))",
        name,
        **options,
    )[0]


# --- what is exported


def test_import_brings_none_of_it():
    done = python(
        "import sys, shmemext\n"
        "late = {'shmemext.lifetime', 'dataclasses', 'argparse', 'json'}\n"
        "print(late & set(sys.modules))\n"
        "print(shmemext.segments.__name__, shmemext.Family.__name__)"
    )
    assert done.stdout.split("\n")[:2] == ["set()", "segments Family"]


@pytest.mark.parametrize("name", lifetime.__all__)
def test_package_exports_it(name):
    assert getattr(shmemext, name) is getattr(lifetime, name)


def test_package_has_no_more_than_that():
    with pytest.raises(AttributeError, match="no attribute 'survey'"):
        _ = shmemext.survey


@pytest.mark.parametrize(
    "record", [shmemext.Segment, shmemext.Family, shmemext.Collected]
)
def test_records_are_frozen(record):
    one = record(*[None for _ in dataclasses.fields(record)])
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, dataclasses.fields(record)[0].name, 1)
    assert hash(one) == hash(dataclasses.replace(one))


@pytest.mark.parametrize("name", lifetime.__all__)
def test_pickles_name_the_public_module(name):
    assert getattr(shmemext, name).__module__ == "shmemext.lifetime"


def test_segments_are_pickled(name):
    with SharedMemory(name, create=True, size=1) as shm:
        found = find(name)
        assert found.family and found.processes
        assert pickle.loads(pickle.dumps(found)) == found
        shm.unlink()


# --- segments()


def test_own_segment(name):
    with SharedMemory(name, create=True, size=5000) as shm:
        found = find(name)
        assert found.kind == "family"
        assert found.family.own
        assert found.family.alive
        assert found.family.uid == found.uid == os.geteuid()
        assert (found.size, found.held, found.mode) == (5000, 8192, 0o600)
        assert 0 <= found.age < 60
        assert found.changed == (DEV_SHM / name).stat().st_ctime
        assert found.processes == (
            shmemext.Process(
                os.getpid(), found.processes[0].command, True, False
            ),
        )
        shm.unlink()


def test_untracked_segment(name):
    with SharedMemory(name, create=True, size=1, track=False) as shm:
        assert find(name).kind == "untracked"
        assert find(name).family is None
        shm.unlink()


def test_processes_go_when_they_close(name):
    shm = SharedMemory(name, create=True, size=1)
    assert not find(name).processes[0].open
    shm.fileno()
    assert find(name).processes[0].open
    assert find(name).processes[0].mapped
    shm.close()
    assert find(name).processes == ()
    assert find(name).kind == "family"
    shm.unlink()
    assert name not in [one.name for one in shmemext.segments()]


def test_segments_are_sorted_and_no_directories(name):
    SharedMemory(name, create=True, size=1).unlink()
    names = [one.name for one in shmemext.segments()]
    assert names == sorted(names)
    assert not [one for one in names if (DEV_SHM / one).is_dir()]


def test_links_and_fifos_are_no_segments(name):
    (DEV_SHM / name).symlink_to("/etc/passwd")
    assert name not in [one.name for one in shmemext.segments()]
    (DEV_SHM / name).unlink()
    os.mkfifo(DEV_SHM / name)
    assert name not in [one.name for one in shmemext.segments()]


def test_deleted_memory(name):
    with SharedMemory(name, create=True, size=5000) as shm:
        inode = (DEV_SHM / name).stat().st_ino
        shm.unlink()
        # Its creator has never had it open under a name.
        (one,) = [
            one for one in lifetime.survey().deleted if one.name == f"#{inode}"
        ]
        assert one.size == 8192
        assert one.processes[0].pid == os.getpid()


@pytest.fixture
def before_ledgers(monkeypatch):
    """Gives a list of what to do after the names are read and before the
    ledgers are."""
    actions = []
    families = _survey.Families

    def late(names):
        for act in actions:
            act(names)
        return families(names)

    monkeypatch.setattr(_survey, "Families", late)
    return actions


def looked_at(name):
    """The kinds of that name, and the orphans there would be of it."""
    found = lifetime.survey()
    kinds = [one.kind for one in found.segments if one.name == name]
    orphans = [one.name for one in lifetime.find_orphans(found)]
    return kinds, orphans.count(name)


def test_name_that_goes_while_we_look_is_no_orphan(name, before_ledgers):
    shm = SharedMemory(name, create=True, size=1)
    shm.close()

    def go(names):
        assert name in names
        shm.unlink()

    before_ledgers.append(go)
    assert looked_at(name) == ([], 0)


def test_name_that_is_made_anew_while_we_look_is_no_orphan(
    name, before_ledgers
):
    shm = SharedMemory(name, create=True, size=1)
    shm.close()

    def make_anew(names):
        assert name in names
        shm.unlink()
        SharedMemory(name, create=True, size=1).close()

    before_ledgers.append(make_anew)
    assert looked_at(name) == ([], 0)
    before_ledgers.clear()
    assert looked_at(name) == (["family"], 0)


def test_name_that_goes_while_we_look_leaves_its_memory(name, before_ledgers):
    with SharedMemory(name, create=True, size=1) as shm:
        inode = (DEV_SHM / name).stat().st_ino
        before_ledgers.append(lambda _: shm.unlink())
        deleted = [one.name for one in lifetime.survey().deleted]
        assert f"#{inode}" in deleted


def test_name_that_stays_while_we_look_is_an_orphan(name, before_ledgers):
    (DEV_SHM / name).write_bytes(b"1")
    before_ledgers.append(lambda _: (DEV_SHM / name).chmod(0o640))
    assert looked_at(name) == (["untracked"], 1)


def test_child_is_in_the_familys_processes(name):
    with SharedMemory(name, create=True, size=1) as shm:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        try:
            pids = [process.pid for process in find(name).processes]
            assert pids == sorted([os.getpid(), child])
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        shm.unlink()


# --- ledgers, whatever is in them


def ledger(machine, *records, uid=None, mode=0o700, tail=b"", lock=True):
    """A family's directory as a program might have left it."""
    directory = machine.shm / (".shmemext-2-" + "5" * 32)
    directory.mkdir()
    directory.chmod(mode)
    if lock:
        (directory / ".lock").touch()
    content = b"".join(machines.record(*one) for one in records)
    (directory / "l0123456789abcdef").write_bytes(content + tail)
    if uid is not None:
        os.chown(directory, uid, uid)
    return directory


@pytest.fixture
def directory(private):
    made = []

    def make(*records, **options):
        made.append(ledger(private, *records, **options))
        return made[0]

    yield make
    for one in made:
        for file in one.iterdir():
            file.unlink()
        one.rmdir()


def test_ledger_owns_what_has_its_inode(private, directory, name):
    inode = private.file(name).stat().st_ino
    directory((0, b""), (inode, name.encode()))
    assert kind_in(private, name) == ["family", False]


def test_ledger_out_of_date_owns_nothing(private, directory, name):
    inode = private.file(name).stat().st_ino
    directory((inode + 1, name.encode()), (0, name.encode()))
    assert kind_in(private, name) == ["untracked", None]


@pytest.mark.parametrize("cut", [0, 1, 8, 16, 271])
def test_ledger_cut_short_is_read_as_far_as_it_goes(
    private, directory, name, cut
):
    inode = private.file(name).stat().st_ino
    directory((inode, name.encode()), tail=b"\xff" * cut)
    assert kind_in(private, name)[0] == "family"


def test_ledger_without_a_lock_is_dead(private, directory, name):
    inode = private.file(name).stat().st_ino
    directory((inode, name.encode()), lock=False)
    assert kind_in(private, name) == ["family", False]


def test_ledger_open_to_others_is_nobodys(private, directory, name):
    inode = private.file(name).stat().st_ino
    directory((inode, name.encode()), mode=0o755)
    assert kind_in(private, name) == ["untracked", None]


def test_ledger_of_another_user_claims_nothing_of_ours(
    private, directory, name
):
    machines.need_two_users(private)
    inode = private.file(name).stat().st_ino
    directory((inode, name.encode()), uid=NOBODY)
    assert kind_in(private, name) == ["untracked", None]
    assert kind_in(private, name, user=NOBODY)[0] == "untracked"


def test_reserved_names_that_are_no_directories(private, name):
    private.file(name)
    squatter = private.file(".shmemext-2-" + "6" * 32)
    link = private.shm / (".shmemext-2-" + "7" * 32)
    link.symlink_to("/tmp")
    try:
        assert kind_in(private, name) == ["untracked", None]
        private.cli("gc", "--orphans", "--yes")
        assert squatter.exists()
    finally:
        link.unlink()


def test_alive_is_who_shares_the_lock(private, directory, name):
    inode = private.file(name).stat().st_ino
    family = directory((inode, name.encode()))
    with (family / ".lock").open("r+") as lock:
        machines.lock(lock, fcntl.F_RDLCK)
        assert kind_in(private, name) == ["family", True]
        # A sweep, or a test, that has it alone is no member.
        machines.lock(lock, fcntl.F_WRLCK)
        assert kind_in(private, name) == ["family", False]
    assert kind_in(private, name) == ["family", False]


@pytest.mark.parametrize("file", [".reaper", "l0123456789abcdef"])
def test_alive_without_a_lock_is_who_has_a_reaper_or_a_writer(
    private, directory, name, file
):
    inode = private.file(name).stat().st_ino
    family = directory((inode, name.encode()), lock=False)
    with (family / file).open("a+") as held:
        machines.lock(held, fcntl.F_WRLCK)
        assert kind_in(private, name) == ["family", True]
        assert collected(private, "") == []
    assert kind_in(private, name) == ["family", False]


def test_looking_locks_nothing(private, directory, name, monkeypatch):
    """So no child that is forked meanwhile keeps a family alive."""
    inode = private.file(name).stat().st_ino
    family = directory((inode, name.encode()))
    commands = []

    def ask(descriptor, command, *arguments):
        commands.append(command)
        return fcntl.fcntl(descriptor, command, *arguments)

    asking = types.SimpleNamespace(
        **{**vars(fcntl), "fcntl": ask, "flock": None, "lockf": None}
    )
    monkeypatch.setattr(_ledgers, "fcntl", asking)
    descriptor = os.open(family, os.O_RDONLY)
    try:
        assert not _ledgers._is_alive(descriptor)
    finally:
        os.close(descriptor)
    assert commands == [fcntl.F_OFD_GETLK]


def test_thousands_of_names(private, name):
    private.run(
        "-c",
        "import sys, shmemext\n"
        "for i in range(3000):\n"
        "    shmemext.SharedMemory(f'{sys.argv[1]}-{i}', True, 1).close()\n"
        "found = shmemext.segments()\n"
        "own = [one for one in found if one.family and one.family.own]\n"
        "assert len(own) == 3000\n",
        name,
    )


# --- collect()


def collected(machine, arguments, user=None):
    return in_there(
        machine,
        f"print(json.dumps([[c.name, c.held, c.reason, str(c.error)]"
        f" for c in shmemext.collect({arguments})]))",
        user=user,
    )


def test_collect_returns_what_it_removed(private, name):
    private.stranded(name)
    expected = [[name, 8192, "dead family", "None"]]
    assert collected(private, "dry_run=True") == expected
    assert private.has(name)
    assert collected(private, "") == expected
    assert not private.has(name)
    assert collected(private, "") == []


def test_collect_orphans(private, name):
    private.file(name)
    assert collected(private, "") == []
    assert collected(private, "orphans=True, older_than=3600") == []
    expected = [[name, 8192, "orphan", "None"]]
    assert collected(private, "orphans=True, dry_run=True") == expected
    assert private.has(name)
    assert collected(private, "orphans=True, older_than=0") == expected
    assert not private.has(name)


def test_collect_takes_a_timedelta(private, name):
    private.file(name)
    day = "__import__('datetime').timedelta(days=1)"
    assert collected(private, f"orphans=True, older_than={day}") == []


def test_collect_returns_what_it_could_not_remove(private, name):
    machines.need_two_users(private)
    private.file(name, uid=NOBODY, mode=0)
    ((*_, error),) = collected(private, "orphans=True", user=NOBODY)
    assert "Permission denied" in error
    assert private.has(name)


def test_collect_spares_what_the_caller_has_open(private, name):
    private.file(name)
    assert (
        in_there(
            private,
            "f = open('/dev/shm/' + sys.argv[1])\n"
            "print(json.dumps(len(shmemext.collect(orphans=True))))",
            name,
        )
        == 0
    )
    assert private.has(name)


def test_collect_is_audited(private, name):
    private.file(name, size=5000)
    events = in_there(
        private,
        "events = []\n"
        "sys.addaudithook(lambda event, args:"
        " event == 'shmemext.unlink' and events.append(args))\n"
        "shmemext.collect(orphans=True)\n"
        "print(json.dumps(events))",
    )
    assert events == [[name, 5000]]


def test_collect_removes_no_newcomer_of_that_name(private, name):
    """Between the look and the removal it has become another file."""
    private.file(name)
    there = in_there(
        private,
        "from shmemext import lifetime; import os, pathlib\n"
        "path = pathlib.Path('/dev/shm', sys.argv[1])\n"
        "found = lifetime.survey(); offered = lifetime.find_orphans(found)\n"
        "keep = path.open(); path.unlink(); path.write_bytes(b'new')\n"
        "print(json.dumps([len(offered),"
        " len(list(lifetime.remove_offered(found, offered)))]))",
        name,
    )
    assert there == [1, 0]
    assert private.has(name)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"orphans": True, "older_than": -1}, ValueError),
        ({"orphans": True, "older_than": float("nan")}, ValueError),
        ({"orphans": True, "older_than": timedelta(-1)}, ValueError),
        ({"older_than": 1}, ValueError),
        ({"orphans": True, "older_than": "1h"}, TypeError),
    ],
)
def test_collect_refuses(options, error):
    with pytest.raises(error):
        shmemext.collect(**options, dry_run=True)


def test_collect_leaves_the_living_alone(name):
    with SharedMemory(name, create=True, size=1) as shm:
        assert name not in [one.name for one in shmemext.collect()]
        found = shmemext.collect(dry_run=True, orphans=True)
        assert name not in [one.name for one in found]
        shm.unlink()


def test_lease_signal_is_one_that_is_ignored(private, name):
    """Who opens the file meanwhile does not have us killed."""
    private.file(name)
    survived = in_there(
        private,
        "from shmemext import lifetime; import os, pathlib, threading, time\n"
        "path = pathlib.Path('/dev/shm', sys.argv[1])\n"
        "opener = threading.Thread(target=lambda: path.open().close())\n"
        "with lifetime._lease(path, path.stat().st_ino) as granted:\n"
        "    opener.start(); time.sleep(0.2); waits = opener.is_alive()\n"
        "opener.join(); print(json.dumps([granted, waits]))",
        name,
    )
    assert survived == [True, True]


def test_descriptors_balance():
    before = len(list(Path("/proc/self/fd").iterdir()))
    shmemext.segments()
    shmemext.collect(orphans=True, dry_run=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert sys.exc_info() == (None, None, None)
