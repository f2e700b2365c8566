from __future__ import annotations

import re
from pathlib import Path

import pytest

from caffe_lite.errors import DataError
from caffe_lite.logs.training_log import TrainingLog, columns_of, parse_training_log, read_training_log

GOLDEN = Path(__file__).parents[1] / "golden" / "logs" / "train_lenet_fashion_mnist.log"


def written(*lines: str, head: str = "I1121 10:00:{:02d}.500000  7 solver.py:1] ") -> list[str]:
    """Write lines like those of a log, one second apart."""
    return [head.format(second) + line + "\n" for second, line in enumerate(lines)]


def display(iteration: int, loss: float) -> list[str]:
    return [
        f"Iteration {iteration} (5.1 iter/s, 2s/10 iters), loss = {loss}",
        f"    Train net output #0: loss = {loss} (* 1 = {loss} loss)",
        f"Iteration {iteration}, lr = 0.01",
    ]


def iterations(rows) -> list[float]:
    return [row["NumIters"] for row in rows]


def test_the_originals_log():
    log = read_training_log(GOLDEN)
    text = GOLDEN.read_text()
    assert iterations(log.train) == list(range(0, 10000, 100))
    assert iterations(log.test) == list(range(0, 10001, 500))
    assert columns_of(log.train) == ["NumIters", "Seconds", "LearningRate", "loss"]
    assert columns_of(log.test) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
    for kind, name, rows in (("Train", "loss", log.train), ("Test", "loss", log.test), ("Test", "accuracy", log.test)):
        expected = re.findall(rf"{kind} net output #\d: {name} = (\S+)", text)
        assert [row[name] for row in rows] == [float(value) for value in expected]
    assert [loss for _, _, loss in log.losses] == [float(value) for value in re.findall(r", loss = (\S+)", text)]
    rates = [float(rate) for rate in re.findall(r"lr = (\S+)", text)]
    # A row begins before its own rate is logged, so it has the previous rate.
    assert [row["LearningRate"] for row in log.train] == [rates[0], *rates[:-1]]
    begun, shown = (
        re.search(rf"19:(\d\d):(\S+) .*{what}", text) for what in (r"\] Solving", r"Train .*loss = 2\.314 ")
    )
    assert begun is not None
    assert shown is not None
    assert log.train[0]["Seconds"] == pytest.approx(float(shown[2]) - float(begun[2]), abs=1e-9)


@pytest.mark.parametrize("value", ["--", "1.2.3", "1e", "", "1.#IND", "0x1p3", "²", "nan(ind)", "$"])
def test_what_is_no_number_is_skipped(value: str):
    lines = written("Solving N", *display(0, 3), *(line.replace("7.5", value) for line in display(10, 7.5)))
    lines += written(f"Iteration {value}, loss = 1", *display(20, 1), head="I20261121 11:00:{:02d}.0 7 a:1] ")
    log = parse_training_log(lines)
    assert (iterations(log.train), [row["loss"] for row in log.train]) == ([0, 20], [3, 1])
    assert [(iteration, loss) for iteration, _, loss in log.losses] == [(0, 3), (20, 1)]


def test_a_rate_may_be_followed_by_others():
    lines = [line.replace("lr = 0.01", "lr = 0.5, m = 0.9, lrm = 5, wd = 0.1, gs = 1") for line in display(0, 3)]
    log = parse_training_log(written("Solving N", *lines, *display(10, 2)))
    assert log.train[1]["LearningRate"] == 0.5


@pytest.mark.parametrize("count", ["9" * 16, "9" * 400, "9" * 5000])
def test_a_line_of_no_possible_iteration_is_skipped(count: str):
    strange = [f"Iteration {count}, loss = 1", f"Iteration {count}, Testing net (#0)", f"Iteration {count}, lr = 1"]
    log = parse_training_log(written("Solving N", *display(0, 3), *strange, *display(10, 2)))
    assert (iterations(log.train), log.test, log.train[1]["LearningRate"]) == ([0, 10], [], 0.01)


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "1e400"])
def test_what_printf_writes_for_what_is_not_finite_is_a_number(value: str):
    (row,) = parse_training_log(written("Solving N", *(line.replace("7.5", value) for line in display(0, 7.5)))).train
    assert str(row["loss"]) == str(float(value))


def test_time_begins_where_solving_does():
    log = parse_training_log(written("Use CPU.", "Solving Net", *display(0, 2.5), *display(10, 1.5)))
    assert [row["Seconds"] for row in log.train] == [2.0, 5.0]
    assert log.losses == [(0, 1.0, 2.5), (10, 4.0, 1.5)]


def test_a_resumed_run_goes_on_without_the_pause():
    first = written("Solving Net", *display(0, 3), *display(10, 2), *display(20, 1.5))
    second = written(
        "Use CPU.", "Solving Net", *display(20, 1), *display(30, 0.5), head="I20261124 08:30:{:02d}.0 7 a:1] "
    )
    log = parse_training_log(first + second)
    assert iterations(log.train) == [0, 10, 20, 30]
    assert [row["loss"] for row in log.train] == [3, 2, 1, 0.5]
    assert [row["Seconds"] for row in log.train] == [2, 5, 9 + 2, 9 + 5]


def test_a_run_that_begins_anew_replaces_the_one_before():
    log = parse_training_log(written("Solving N", *display(0, 3), *display(10, 2), "Solving N", *display(0, 9)))
    assert [(row["NumIters"], row["loss"]) for row in log.train] == [(0, 9)]
    assert log.train[0]["Seconds"] < 3


@pytest.mark.parametrize("year", ["", "2026"])
def test_the_turn_of_the_year(year):
    after = "2027" if year else ""
    lines = written("Solving N", *display(0, 1), head=f"I{year}1231 23:59:{{:02d}}.000000 7 a.cpp:1] ")
    lines += written(*display(10, 1), head=f"I{after}0101 00:00:{{:02d}}.000000 7 a.cpp:1] ")
    assert [row["Seconds"] for row in parse_training_log(lines, 2026).train] == [2, 61]


def test_the_29th_of_february_in_a_log_without_years():
    lines = written("Solving N", *display(0, 1), head="I0228 23:59:{:02d}.000000 7 a.cpp:1] ")
    lines += written(*display(10, 1), head="I0229 00:00:{:02d}.000000 7 a.cpp:1] ")
    assert [row["Seconds"] for row in parse_training_log(lines, 2026).train] == [2, 61]


@pytest.mark.parametrize("cut", [1, 3, 30, 60])
def test_a_line_that_breaks_off_tells_nothing(cut):
    text = "".join(written("Solving N", *display(0, 1.25), *display(10, 1.75)[:2]))
    log = parse_training_log(text[:-cut].splitlines(keepends=True))
    assert [row["loss"] for row in log.train] == [1.25]


def test_lines_of_others_and_odd_dates_are_skipped():
    lines = written("Solving N", *display(0, 1))
    lines[2:2] = [
        "Iteration 5, loss = 7\n",
        "\n",
        "I20261399 99:00:00.1 7 a:1] Iteration 7, loss = 1\n",
        "I99991299 09:00:00.1 7 a:1] Iteration 7\n",
        "\0\xff\n",
    ]
    assert iterations(parse_training_log(lines).train) == [0]


def test_several_test_nets_several_values_and_values_that_are_not_finite():
    log = parse_training_log(
        written(
            *(
                "Iteration 0, Testing net (#0)",
                "    Test net output #0: acc = 0.5",
                "    Test net output #1: acc = 1e-05",
            ),
            *("Iteration 0, Testing net (#1)", "    Test net output #0: acc = nan", "    Test net output #1: b = -inf"),
            *("Iteration 9, Testing net (#0)", "    Test net output #0: acc = 0.75"),
        )
    )
    assert columns_of(log.test)[3:] == ["acc", "acc_2", "acc#1", "b#1"]
    assert [row.get("acc") for row in log.test] == [0.5, 0.75]
    assert log.test[0]["acc_2"] == 1e-5
    assert str(log.test[0]["acc#1"]) == "nan"
    assert log.test[0]["b#1"] == float("-inf")


def test_no_log(tmp_path):
    with pytest.raises(DataError, match="cannot read this log: No such file"):
        read_training_log(tmp_path / "nowhere.log")
    (tmp_path / "empty.log").write_text("I20261121 10:00:00.5 7 a:1] Use CPU.\n")
    with pytest.raises(DataError, match=r"empty\.log: no training is logged in this file"):
        read_training_log(tmp_path / "empty.log")


def test_nothing_is_nothing():
    assert parse_training_log([]) == TrainingLog()
