"""Threads of a session: the decision on machines of other sizes, not the time."""

import os

import pytest

from tfseq.runtime import session


@pytest.mark.parametrize(
    ("host", "available", "threads"),
    [
        (1, 1, 0),
        (4, 4, 0),  # 0: ONNX Runtime takes one thread per physical core
        (8, 8, 0),
        (16, 16, 0),
        (16, 2, 2),  # a quota or a mask of two cores on a host of 16
        (64, 3, 3),
        (4, 1, 1),
    ],
)
def test_a_session_takes_the_cores_that_its_container_may_use(monkeypatch, host, available, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: host)
    monkeypatch.setattr(session, "available_cores", lambda: available)
    assert session.thread_count(None) == threads


def test_threads_that_are_asked_for_are_taken(monkeypatch):
    monkeypatch.setattr(session, "available_cores", lambda: 2)
    assert session.thread_count(7) == 7
