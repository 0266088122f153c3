"""Listen, and have a worker of multiprocessing's accept one connection."""

from __future__ import annotations

import multiprocessing
import socket

from inet_lookup import listen, query


def accept_one(listener: socket.socket) -> None:
    with listener:
        print(f"the worker has a {type(listener).__name__}", flush=True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"from the worker")


if __name__ == "__main__":
    with listen("192.0.2.0/24", 80) as listener:
        worker = multiprocessing.get_context("spawn").Process(target=accept_one, args=(listener,))
        worker.start()
        worker.join()
        if len(query()) == 1:
            print("the parent steers still", flush=True)
