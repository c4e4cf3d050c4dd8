"""Loops are shared out so that every task is done once."""

import threading

import pytest
import torch

from inlay_kernels.launch import launch


def recorded(num_tasks: int, work: int) -> tuple[list[int], set[int]]:
    """Tasks in the order in which they were done, and the threads that did them."""
    done: list[int] = []
    threads: set[int] = set()

    def loop(first: int, stride: int) -> None:
        threads.add(threading.get_ident())
        done.extend(range(first, num_tasks, stride))

    launch(loop, num_tasks, work)
    return done, threads


@pytest.mark.parametrize("num_tasks", [0, 1, 2, 3, 10])
def test_every_task_is_done_once(monkeypatch: pytest.MonkeyPatch, num_tasks: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done, _ = recorded(num_tasks, 10**9)
    assert sorted(done) == list(range(num_tasks))


def test_little_work_stays_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert recorded(10, 1000) == (list(range(10)), {threading.get_ident()})


def test_an_error_of_another_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def loop(first: int, stride: int) -> None:
        if first == 1:
            raise ValueError("from the second share")

    with pytest.raises(ValueError, match="second share"):
        launch(loop, 2, 10**9)
