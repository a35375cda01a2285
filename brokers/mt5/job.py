"""On Windows, children that die with this process: even one that hangs inside the package, which reads no pipe.

A job object kills what is in it when its last handle is closed, and the system closes ours when this process ends,
in whatever way. A terminal that the package starts from such a child stays outside the job and lives on.
"""

import ctypes
import logging
import sys
from functools import cache

log = logging.getLogger(__name__)

EXTENDED_LIMIT_INFORMATION = 9
KILL_ON_JOB_CLOSE = 0x2000
SILENT_BREAKAWAY_OK = 0x1000
PROCESS_TERMINATE = 0x0001
PROCESS_SET_QUOTA = 0x0100


class BasicLimits(ctypes.Structure):
    _fields_ = (
        ("process_user_time", ctypes.c_int64),
        ("job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("working_set_min", ctypes.c_size_t),
        ("working_set_max", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("process_memory_peak", ctypes.c_size_t),
        ("job_memory_peak", ctypes.c_size_t),
    )


if sys.platform == "win32":
    from ctypes import wintypes

    @cache
    def _kernel() -> ctypes.WinDLL:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.SetInformationJobObject.argtypes = (
            wintypes.HANDLE,
            ctypes.c_int,
            wintypes.LPVOID,
            wintypes.DWORD,
        )
        kernel.SetInformationJobObject.restype = wintypes.BOOL
        kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        kernel.AssignProcessToJobObject.restype = wintypes.BOOL
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        kernel.CloseHandle.restype = wintypes.BOOL
        return kernel

    @cache
    def _job() -> int:
        """The one job of this process; its handle stays open for as long as the process lives."""
        job = _kernel().CreateJobObjectW(None, None)
        if not job:
            raise ctypes.WinError(ctypes.get_last_error())
        limits = ExtendedLimits(basic=BasicLimits(flags=KILL_ON_JOB_CLOSE | SILENT_BREAKAWAY_OK))
        size = ctypes.sizeof(limits)
        if not _kernel().SetInformationJobObject(job, EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), size):
            raise ctypes.WinError(ctypes.get_last_error())
        return int(job)

    def _assign(pid: int) -> None:
        process = _kernel().OpenProcess(PROCESS_TERMINATE | PROCESS_SET_QUOTA, False, pid)
        if not process:
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            if not _kernel().AssignProcessToJobObject(_job(), process):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            _kernel().CloseHandle(process)

    def die_together(pid: int) -> None:
        """Have the system end the child with this process.

        Where it cannot, a child that hangs lives on; it keeps the terminal's lock, so nothing is sent beside it.
        """
        try:
            _assign(pid)
        except OSError as error:
            log.warning("process %d would outlive this one if it hung: %s", pid, error)
else:

    def die_together(pid: int) -> None:
        """Elsewhere a child sees to it itself (`child.die_with`)."""
