"""Runs a program without System V: confine.py ERRNO PROGRAM…. A seccomp filter answers its calls with that errno."""

import ctypes
import errno
import os
import struct
import sys

# shmget, shmat, shmctl, shmdt on x86-64; seccomp(2) and linux/filter.h for the rest.
CALLS = [29, 30, 31, 67]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2

refusal = 0x00050000 | getattr(errno, sys.argv[1])
steps = [(LOAD, 0, 0, 0)]
steps += [(EQUAL, len(CALLS) - index, 0, call) for index, call in enumerate(CALLS)]
steps += [(RETURN, 0, 0, 0x7FFF0000), (RETURN, 0, 0, refusal)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)]:
    if libc.prctl(*arguments):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[2], sys.argv[2:])
