"""Keeps one process of a user's trainer, with all that it starts, from outliving the worker that wants it.

Run as a script, without tdscale: LOCK FOLDER OUT ERR PROGRAM ARGUMENTS…. It holds LOCK, a file, as long as the process is there, so
that no other one begins beside it. It obeys letters on standard input: p pauses, g continues, t ends;
so does the end of input, which comes when the worker dies, however it died. Last, it says on standard output how the program ended.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

_SECONDS_TO_END = 4.0  # between SIGTERM, at which a trainer may save its state, and SIGKILL


def _tell(group: int, *numbers: int) -> None:
    for number in numbers:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return


def _end(group: int) -> None:
    _tell(group, signal.SIGTERM, signal.SIGCONT)
    time.sleep(_SECONDS_TO_END)
    _tell(group, signal.SIGKILL)


def _obey(group: int) -> None:
    while True:
        letter = os.read(0, 1)
        if letter == b"p":
            _tell(group, signal.SIGSTOP)
        elif letter == b"g":
            _tell(group, signal.SIGCONT)
        else:
            _end(group)
            return


def _main() -> None:
    lock, folder, out, err, *command = sys.argv[1:]
    held = os.open(lock, os.O_CREAT | os.O_RDWR)  # until this process ends; not its child's
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass  # its worker has waited for it, or the file system knows no locks
    with open(out, "ab") as output, open(err, "ab") as errors:
        try:
            # a group of its own: what it starts is ended with it, and a Ctrl-C is not its affair
            child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, process_group=0)
        except (OSError, ValueError) as error:
            print(f"can't be started: {getattr(error, 'strerror', None) or error}")
            return
    signal.signal(signal.SIGTERM, lambda number, frame: _end(child.pid))
    threading.Thread(target=_obey, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _tell(child.pid, signal.SIGKILL)  # what it left behind
    print(code, flush=True)
    os._exit(0)


if __name__ == "__main__":
    _main()
