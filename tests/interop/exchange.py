"""Writer and reader of shared memory in Python: exchange.py MODULE write|read|stat|remove WHERE [TEXT].

MODULE is multiprocessing.shared_memory, posix_ipc or sysv_ipc. It does what the C programs beside it do.
"""

import mmap
import os
import signal
import sys

SIZE = 5000
ANSWER = 256  # where the reader answers


class Multiprocessing:
    """The standard library's. Before Python 3.13 it removes at exit what it has opened, unless told not to."""

    def __init__(self, name, size=0):
        from multiprocessing import resource_tracker, shared_memory

        options = {"track": False} if sys.version_info >= (3, 13) else {}
        self.memory = shared_memory.SharedMemory(name.lstrip("/"), create=size > 0, size=size, **options)
        if not options:
            resource_tracker.unregister("/" + self.memory.name, "shared_memory")
            self.register = resource_tracker.register
        self.bytes = self.memory.buf

    def stat(self):
        # Only POSIX, where a shared memory object is a file.
        mode = os.stat("/dev/shm/" + self.memory.name).st_mode & 0o7777
        return f"{self.memory.size} {mode:o} -"

    def remove(self):
        if hasattr(self, "register"):
            self.register("/" + self.memory.name, "shared_memory")  # as `unlink` takes it off the list
        self.memory.unlink()

    def close(self):
        del self.bytes
        self.memory.close()


class PosixIpc:
    def __init__(self, name, size=0):
        import posix_ipc

        flags = posix_ipc.O_CREX if size else 0
        self.memory = posix_ipc.SharedMemory(name, flags, mode=0o640, size=size)
        self.bytes = mmap.mmap(self.memory.fd, self.memory.size)

    def stat(self):
        mode = os.fstat(self.memory.fd).st_mode & 0o7777
        return f"{self.memory.size} {mode:o} -"

    def remove(self):
        self.memory.unlink()

    def close(self):
        self.bytes.close()
        self.memory.close_fd()


class SysvIpc:
    class Bytes:
        """Its `read` and `write`, as slices."""

        def __init__(self, memory):
            self.memory = memory

        def __getitem__(self, span):
            return self.memory.read(span.stop - span.start, span.start)

        def __setitem__(self, span, text):
            self.memory.write(text, span.start)

    def __init__(self, path, size=0):
        import sysv_ipc

        key = sysv_ipc.ftok(path, ord("R"), silence_warning=True)
        if size:
            # It fills a new segment with spaces, unless told otherwise.
            self.memory = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, 0o640, size, init_character=b"\0")
        else:
            self.memory = sysv_ipc.SharedMemory(key)
        self.bytes = self.Bytes(self.memory)

    def stat(self):
        # Opening has attached it once more.
        return f"{self.memory.size} {self.memory.mode:o} {self.memory.number_attached - 1}"

    def remove(self):
        self.memory.remove()

    def close(self):
        self.memory.detach()


def text_at(memory, offset):
    return bytes(memory.bytes[offset : offset + 64]).split(b"\0")[0].decode()


def put_at(memory, offset, text):
    memory.bytes[offset : offset + len(text) + 1] = text.encode() + b"\0"


def main(module, act, where, text=None):
    signal.alarm(60)
    module = {"multiprocessing.shared_memory": Multiprocessing, "posix_ipc": PosixIpc, "sysv_ipc": SysvIpc}[module]
    memory = module(where, SIZE if act == "write" else 0)
    if act == "write":
        put_at(memory, 0, text)
        print("ready", flush=True)
        sys.stdin.readline()
        print(text_at(memory, ANSWER), flush=True)
    elif act == "read":
        print(text_at(memory, 0), flush=True)
        sys.stdin.readline()
        put_at(memory, ANSWER, text)
    elif act == "stat":
        print(memory.stat(), flush=True)
    elif act == "remove":
        memory.remove()
    memory.close()


main(*sys.argv[1:])
