"""Execute a program that dies with its parent: ``SCRIPT PARENT_PID SIGNAL PROGRAM [ARGUMENT ...]``.

``Child`` runs this script before the program. Linux keeps the parent-death signal across ``execve``, so that
a supervisor killed with SIGKILL leaves no server behind. A ``preexec_fn`` would do the same between fork and
exec, where a threaded parent can deadlock. On other systems it only executes the program.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Set the signal, check that the parent is alive, and execute the program."""
    parent, signal_number, program = int(arguments[0]), int(arguments[1]), arguments[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        # No signal is sent if the parent died before the prctl.
        if os.getppid() != parent:
            sys.exit(1)
    try:
        os.execvp(program[0], program)  # noqa: S606 - an exec without a shell is the purpose
    except OSError as error:
        print(f"{program[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
