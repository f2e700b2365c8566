"""Two machines in one: network namespaces of Linux, joined by a cable that can be slow, lose packets, and be pulled."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread
from typing import Any

NAMES = ("machine0", "machine1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
INTERFACE = "cable0"
# Of a machine: its network, its name, and its mounts, for a hosts file.
NAMESPACES = {"--net": "net", "--uts": "uts", "--mount": "mnt"}
# Of linux/if_tun.h: the call that makes a device of an open file, for IP packets without a header of its own.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1500
# Packets that are moved before the other direction gets its turn, and those that wait in the kernel meanwhile.
BURST, QUEUE = 64, 10_000


def obstacle() -> str | None:
    """Return why there can be no such machines here, or None."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    for program in ("ip", "mount", "nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"there is no program {program}"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    made = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, text=True)
    return made.stderr.strip() if made.returncode else None


class Machine:
    """A network namespace with a loopback and the end of a cable, as long as the process that holds it runs."""

    def __init__(self, number: int) -> None:
        self.cable_end = -1
        self.started: list[subprocess.Popen[str]] = []
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                ["unshare", *NAMESPACES, sys.executable, __file__, str(number), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is not for it
            )
        self.socket = ours
        try:
            ours.settimeout(30)
            _, files, _, _ = socket.recv_fds(ours, 1, 1)
            if not files:
                raise RuntimeError(f"{NAMES[number]} has no end of a cable; status {self.process.wait()}")
        except BaseException:
            self.close()
            raise
        self.cable_end = files[0]

    def start(self, words: Sequence[str], cwd: Path = Path("/"), **options: Any) -> subprocess.Popen[str]:
        """Start a program on the machine, as subprocess.Popen does."""
        folder = f"/proc/{self.process.pid}/ns"
        entering = [f"{option}={folder}/{name}" for option, name in NAMESPACES.items()]
        command = ["nsenter", *entering, "--", "env", f"--chdir={cwd}", *words]
        self.started.append(subprocess.Popen(command, text=True, **options))
        return self.started[-1]

    def worker(self) -> int:
        """Return the process that a launcher has started here as a worker."""
        for process in processes_with(Path(f"/proc/{self.process.pid}/ns/net")):
            if b"\0RANK=" in Path(f"/proc/{process}/environ").read_bytes():
                return process
        raise LookupError("no worker runs here")

    def close(self) -> None:
        """End the machine and everything that runs on it."""
        self.socket.close()  # the process that holds the machine waits for this
        self.process.wait(timeout=30)
        for process in self.started:
            process.wait(timeout=30)
        if self.cable_end >= 0:
            os.close(self.cable_end)


class Cable(Thread):
    """Carries packets between two machines, each after ``delay`` seconds, without a share ``loss`` of them.

    Attributes:
        pulled: set this to lose all packets.
        carried, lost: how many packets have come through, and how many have not.
    """

    def __init__(self, ends: tuple[int, int], delay: float, loss: float) -> None:
        super().__init__(name="cable", daemon=True)
        self.ends, self.delay, self.loss = ends, delay, loss
        self.pulled = False
        self.carried = self.lost = 0
        self.random = random.Random(1)
        self.waking, self.woken = os.pipe()

    def run(self) -> None:
        under_way: deque[tuple[float, int, bytes]] = deque()  # when each arrives, where, and the packet; in this order
        while True:
            patience = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            ready, _, _ = select.select([*self.ends, self.waking], [], [], patience)
            if self.waking in ready:
                return
            for end in ready:
                self._take(end, under_way)
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                _, to, packet = under_way.popleft()
                self._deliver(to, packet)

    def _take(self, end: int, under_way: deque[tuple[float, int, bytes]]) -> None:
        to = self.ends[1 - self.ends.index(end)]
        for _ in range(BURST):
            try:
                packet = os.read(end, MTU)
            except BlockingIOError:
                return
            if self.pulled or (self.loss and self.random.random() < self.loss):
                self.lost += 1
            elif self.delay:
                under_way.append((time.monotonic() + self.delay, to, packet))
            else:
                self._deliver(to, packet)

    def _deliver(self, to: int, packet: bytes) -> None:
        if self.pulled:
            self.lost += 1
            return
        os.write(to, packet)
        self.carried += 1

    def close(self) -> None:
        os.write(self.woken, b"!")
        self.join(timeout=30)
        os.close(self.waking)
        os.close(self.woken)


class TwoMachines:
    """Two machines and the cable between them: ``machines[0]`` has the address ADDRESSES[0]."""

    def __init__(self, delay: float = 0.0, loss: float = 0.0) -> None:
        first = Machine(0)
        try:
            second = Machine(1)
        except BaseException:
            first.close()
            raise
        self.machines = (first, second)
        self.cable = Cable((first.cable_end, second.cable_end), delay, loss)
        self.cable.start()

    def __enter__(self) -> TwoMachines:
        return self

    def __exit__(self, *_: object) -> None:
        self.cable.close()
        for machine in self.machines:
            machine.close()


def processes_with(network: Path) -> Iterator[int]:
    """Yield the processes in this network namespace."""
    sought = os.readlink(network)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if os.readlink(process / "ns/net") == sought:
                yield int(process.name)


def hold(number: int, file: int) -> None:
    """Make this process's namespace a machine, hand over the end of its cable, and hold it until nobody needs it.

    Then end whatever still runs on it: launchers start processes in sessions of their own.
    """
    import fcntl

    with suppress(OSError):  # a kernel without IPv6; others would send packets of their own over the cable
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", INTERFACE.encode(), IFF_TUN | IFF_NO_PI))
    for words in (
        "link set lo up",
        f"address add {ADDRESSES[number]}/24 dev {INTERFACE}",
        f"link set {INTERFACE} mtu {MTU} txqueuelen {QUEUE} up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    socket.sethostname(NAMES[number])
    # As Debian writes it: the machine's own name leads to an address that no other machine can reach.
    hosts = ["127.0.0.1 localhost", f"127.0.1.1 {NAMES[number]}", f"{ADDRESSES[1 - number]} {NAMES[1 - number]}", ""]
    with NamedTemporaryFile("w") as file_of_hosts:
        file_of_hosts.write("\n".join(hosts))
        file_of_hosts.flush()
        subprocess.run(["mount", "--bind", file_of_hosts.name, "/etc/hosts"], check=True)
    with socket.socket(fileno=file) as other:
        socket.send_fds(other, [b"!"], [end])
        os.close(end)
        other.recv(1)  # ends when the other side closes its socket, or has been killed
    for process in processes_with(Path("/proc/self/ns/net")):
        if process != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    hold(int(sys.argv[1]), int(sys.argv[2]))
