"""What runs inside the kernel of a notebook: it ends when the process that started it has ended."""

import os
import signal
import threading
import time

FIRST_LINE = f'__import__("{__name__}", fromlist=["_"]).end_with_parent()'


def end_with_parent() -> None:
    """End this process and its children within a second of its parent's end, however that comes.

    A kernel left alone ends by itself only where process 1 adopts it. Elsewhere, as under the
    manager of a session, it would train on, into the folder of the run that is resumed.
    """
    if hasattr(os, "getpgid"):
        threading.Thread(target=_watch, args=[os.getppid()], daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
