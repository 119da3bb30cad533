"""What a run computes on: device, dtype, memory layout and threads, decided once and passed on explicitly."""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resnetkit.errors import UsageError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16"]
DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which of the processes of a job this one is, as torchrun says; `local_` counts those on this machine alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launched: bool = False

    def command(self, *arguments: str) -> str:
        """Return the line to type for `resnetkit ARGUMENTS` on as many processes as these."""
        if not self.launched:
            return shlex.join(["resnetkit", *arguments])
        machines = ["--nnodes", str(self.size // self.local_size)] if self.size > self.local_size else []
        count = ["--nproc-per-node", str(self.local_size)]
        return shlex.join(["torchrun", *machines, *count, "-m", "resnetkit", *arguments])


def place() -> Place:
    """Return this process's place in a job that torchrun launched; alone where it did not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Place()
    names = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}
    return Place(launched=True, **{field: int(os.environ[name]) for field, name in names.items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Choices of the machine that change bits: resume obeys them or refuses.

    `threads` are those of each of the `world_size` processes that train together.
    """

    device: str = "cpu"
    dtype: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    threads: int = 1
    world_size: int = 1
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.device.split(":")[0] not in DEVICES:
            raise UsageError(f"unknown device {self.device!r}: choose auto, {', '.join(DEVICES)}")
        if self.threads < 1:
            raise UsageError(f"--threads must be at least 1, not {self.threads}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict; `Runtime(**d)` reads it back."""
        return asdict(self)

    def check_threads(self) -> None:
        """Raise `UsageError` where a forked process cannot have the threads that the bits of a training depend on."""
        if _forked_with_torch and self.threads > 1:
            raise UsageError(
                f"this process was forked from one that had PyTorch loaded, and {self.threads} threads would wait for "
                "each other forever: train with --threads 1, or in a new process (multiprocessing's spawn)"
            )

    def apply(self) -> None:
        """Set torch's threads and ask for deterministic kernels: same command, same machine, same bits."""
        import torch

        torch.set_num_threads(1 if _forked_with_torch else self.threads)
        if self.device == "cpu":
            _keep_freed_memory()
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False

    def autocast(self) -> torch.autocast:
        """Return the autocast context of this runtime (disabled for fp32)."""
        import torch

        kind = self.device.split(":")[0]
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.dtype == "bf16")

    def memory_format(self) -> torch.memory_format:
        """Return `torch.channels_last` or `torch.contiguous_format`."""
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format


# Numbers of glibc's malloc.h, and the largest value an `int` holds.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST = -1, -3, 2**31 - 1


def _keep_freed_memory() -> None:
    """Make malloc keep what is freed for the next step (glibc only; nothing happens elsewhere).

    By default it gives each activation back to the system and every page of the next one faults: ResNet-20 trains at
    954 to 979 images/s so and at 1,167 to 1,184 without, on two cores (LOG.md). Peak memory stays within 4 %.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        # Older versions refuse more than 32 MB; without that the second setting would make things worse.
        if libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20):
            libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST)


def resolve(
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    channels_last: bool = True,
) -> Runtime:
    """Decide the runtime: `auto` takes CUDA, then Apple's GPU, then the CPU, and bf16 where hardware has it.

    Raises `UsageError` for a device this machine does not have.
    """
    device = _resolve_device(device)
    dtype = precision if precision != "auto" else ("bf16" if has_fast_bf16(device) else "fp32")
    return Runtime(
        device=device,
        dtype=dtype,
        threads=threads or available_threads(),
        channels_last=channels_last,
    )


# Of the threads of PyTorch's pool none comes along in a fork, and a computation that waits for them never ends.
_forked_with_torch = False


def _after_fork() -> None:
    """Let PyTorch compute on the one thread that a forked process has, as its own data loaders do."""
    global _forked_with_torch
    torch = sys.modules.get("torch")
    if torch is not None:
        _forked_with_torch = True
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def refuse_forked(begun_in: int) -> None:
    """Raise `UsageError` where this process is a copy of that in which something with threads was begun."""
    if os.getpid() != begun_in:
        raise UsageError(
            "this was begun before the process was forked, and its threads stayed behind: begin it again here"
        )


def _resolve_device(device: str) -> str:
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if has[name])
    kind = device.split(":")[0]
    if kind not in has:
        raise UsageError(f"unknown device {device!r}: choose auto, {', '.join(DEVICES)}")
    if not has[kind]:
        raise UsageError(f"--device {device}: this machine has none that torch can use; try --device auto")
    return device


def _may_have_gpu() -> bool:
    """Tell whether asking torch for a GPU, which takes seconds, could find one: on Linux a driver leaves a device."""
    return not sys.platform.startswith("linux") or any(os.path.exists(f"/dev/{n}") for n in ("nvidiactl", "kfd", "dxg"))


def has_fast_bf16(device: str) -> bool:
    """Tell whether bf16 arithmetic is in the hardware (a CPU that only emulates it is slower than fp32)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        flags = _read("/proc/cpuinfo")
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


def available_threads() -> int:
    """Return the number of cores this process may use: its CPU affinity, capped by the container's quota.

    One where the process was forked from another that had PyTorch loaded.

    Two logical processors of one core count once: they share the units that convolutions keep busy. The processes that
    torchrun started on this machine share the cores evenly.
    """
    if _forked_with_torch:
        return 1
    if hasattr(os, "sched_getaffinity"):
        siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        cores = len({_read(siblings.format(number)) or str(number) for number in os.sched_getaffinity(0)})
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, int(_quota() or cores)) // place().local_size)


def _quota() -> float | None:
    words = _read("/sys/fs/cgroup/cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return float(words[0]) / float(words[1])
    quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
    period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
    return float(quota) / float(period) if quota and period and float(quota) > 0 else None


def available_memory() -> int | None:
    """Return the bytes of main memory free for use, container limit included; None where unknown.

    The processes that torchrun started on this machine share them evenly.
    """
    free = None
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = (
        _read("/sys/fs/cgroup/memory.max").strip(),
        _read("/sys/fs/cgroup/memory.current").strip(),
    )
    if limit.isdigit() and used.isdigit():
        # Pages of files, such as decoded photos, count as used and are given up as soon as memory is asked for.
        rows = [line.split() for line in _read("/sys/fs/cgroup/memory.stat").splitlines()]
        room = int(limit) - int(used) + sum(int(row[1]) for row in rows if row[0] in ("active_file", "inactive_file"))
        free = room if free is None else min(free, room)
    return None if free is None else free // place().local_size


def peak_memory() -> int:
    """Return the most bytes of main memory that this process has held."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource  # elsewhere; on Linux it begins with what the parent process held

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_name() -> str:
    """Return the processor's name as the system states it."""
    import platform

    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cache_folder() -> Path:
    """Return the folder for what can be made again: `RESNETKIT_CACHE`, else the system's cache folder."""
    chosen = os.environ.get("RESNETKIT_CACHE")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise UsageError(f"RESNETKIT_CACHE={chosen}: there is no such user; name a folder by its path") from None
    return system_cache() / "resnetkit"


def settings_folder() -> Path:
    """Return the folder for what has to last: `RESNETKIT_CONFIG`, else the system's folder for settings."""
    chosen = os.environ.get("RESNETKIT_CONFIG")
    if chosen:
        return Path(chosen)
    system = os.environ.get("XDG_CONFIG_HOME")
    try:
        return (Path(system) if system else Path.home() / ".config") / "resnetkit"
    except RuntimeError:
        raise UsageError("there is no home folder for settings: set RESNETKIT_CONFIG to a folder that lasts") from None


def system_cache() -> Path:
    """Return the folder of all programs' caches; one for temporary files where this user has no home."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user number that has no name, as in containers
        return Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"


def keep_to_the_cache() -> None:
    """Have other packages that this process will use write into our cache, not into the home folder.

    Where the cache cannot be written to it is a temporary folder, which goes when this process ends. For a program of
    our own: in somebody else's, matplotlib shall find their settings.
    """
    wanted = {"MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "torchinductor"}
    missing = {name: folder for name, folder in wanted.items() if not os.environ.get(name)}
    if missing:
        place = cache_folder()
        if not all(_can_hold(place / folder) for folder in missing.values()):
            place = _folder_of_this_process()
        os.environ.update({name: str(place / folder) for name, folder in missing.items()})


def _can_hold(folder: Path) -> bool:
    """Tell whether files can be written into a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _folder_of_this_process() -> Path:
    made_in, folder = os.getpid(), tempfile.mkdtemp(prefix="resnetkit-")

    def remove() -> None:
        if os.getpid() == made_in:  # not where a forked one ends
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
