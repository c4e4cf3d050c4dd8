from inlay.backoff import RestartPolicy, Restarts


def test_each_restart_waits_twice_as_long_up_to_a_limit() -> None:
    policy = RestartPolicy(first_delay_seconds=1, max_delay_seconds=5, max_deaths=10)
    restarts = Restarts(policy)
    assert [restarts.next_delay(now) for now in range(5)] == [1, 2, 4, 5, 5]


def test_too_many_deaths_in_the_window_end_it() -> None:
    restarts = Restarts(RestartPolicy(max_deaths=3, window_seconds=60))
    assert restarts.next_delay(0) is not None
    assert restarts.next_delay(1) is not None
    assert restarts.next_delay(2) is None


def test_old_deaths_are_forgotten() -> None:
    restarts = Restarts(RestartPolicy(max_deaths=3, window_seconds=60, first_delay_seconds=1))
    delays = [restarts.next_delay(now) for now in (0, 50, 100, 150)]
    assert delays == [1, 2, 2, 2]
