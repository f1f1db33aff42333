"""Memory that is free, by files as the kernel has them."""

import pytest

from paxray_lib.compute.memory import free_bytes

MACHINE = {"proc/meminfo": "MemTotal:  900 kB\nMemFree:  100 kB\nMemAvailable:  600 kB\n"}


def machine(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def group(folder, limit, used, cache, version=2):
    names = {
        2: ("memory.max", "memory.current", "inactive_file"),
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }[version]
    stat = f"anon 5\n{names[2]} {cache}\nactive_file 7\n"
    values = {names[0]: limit, names[1]: used, "memory.stat": stat}
    return {f"sys/fs/cgroup/{folder}{name}": f"{value}\n" for name, value in values.items()}


def test_this_machine_has_some():
    assert 2**26 < free_bytes() < 2**50


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 600 << 10),
        ({"proc/self/cgroup": "0::/\n"}, 600 << 10),
        ({"proc/self/cgroup": "0::/\n", **group("", 9000, 5000, 2000)}, 6000),
        ({"proc/self/cgroup": "0::/\n", **group("", "max", 5000, 2000)}, 600 << 10),
        ({"proc/self/cgroup": "0::/\n", **group("", 1 << 30, 5000, 2000)}, 600 << 10),
        # a job within another group, of which one has a limit
        ({"proc/self/cgroup": "0::/a/b\n", **group("a/", 9000, 5000, 1)}, 4001),
        ({"proc/self/cgroup": "0::/a/b\n", **group("a/b/", 9000, 9500, 100)}, 0),
        # version 1, in a container that sees the machine's path
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/x\n2:memory:/docker/1f\n1:name=systemd:/x\n",
                **group("memory/", 8000, 3000, 500, version=1),
            },
            5500,
        ),
    ],
)
def test_free_is_what_the_machine_or_a_group_leaves(tmp_path, files, expected):
    assert free_bytes(machine(tmp_path, MACHINE | files)) == expected


def test_where_nothing_is_told_all_memory_counts(tmp_path):
    assert free_bytes(tmp_path) > 2**28
