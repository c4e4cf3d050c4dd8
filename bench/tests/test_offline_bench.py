"""What the bench of the offline API says of its figures."""

from pathlib import Path

from inlay_bench.offline_batch import OfflinePoint, OfflineResult, parse_options, write_page


def result(llm: list[float]) -> OfflineResult:
    point = OfflinePoint(batch_size=8, engine=[100.0, 200.0, 400.0], llm=llm)
    return OfflineResult(when="", machine="", num_threads=1, points=[point])


def test_each_round_is_compared_with_its_own() -> None:
    assert result([99.0, 196.0, 388.0]).points[0].ratio == 0.98


def test_the_page_says_whether_the_goal_is_reached() -> None:
    assert write_page(result([99.0, 196.0, 388.0])).endswith("0.980, reached")
    assert write_page(result([99.0, 190.0, 388.0])).endswith("0.970, missed")


def test_options_are_read() -> None:
    options = parse_options(["--batches", "4,16", "--rounds", "2", "--folder", "there"])
    assert options.batch_sizes == (4, 16) and options.num_rounds == 2
    assert options.folder == Path("there")
