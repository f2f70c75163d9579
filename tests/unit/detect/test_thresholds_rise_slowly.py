"""A drift below notice must not raise the threshold that is to find it; an older program's state has no such memory."""

import math
import random

from fieldstream_central.detect.mates import MateModel
from fieldstream_central.detect.packing import pack, unpack
from fieldstream_central.detect.residuals import RISE, MemberTests
from unit.detect.detect_bench import noisy, only_model, run

DAY = 1440  # blocks of a minute
LN_P = math.log(1e4)


def _teach(tests: MemberTests, blocks: int, chance: random.Random, scale: float = 1.0) -> None:
    for _ in range(blocks):
        sizes = [scale * abs(chance.gauss(0.0, 1.0)) for _ in range(4)]
        tests.learn(sizes[0], sizes, LN_P)


def _short(tests: MemberTests) -> float:
    return tests.thresholds(0.0)[1]


def test_within_hours_a_threshold_rises_by_little_and_within_days_to_what_is_usual_now() -> None:
    tests, chance = MemberTests(), random.Random(1)
    _teach(tests, 3 * DAY, chance)
    before = _short(tests)
    _teach(tests, DAY // 12, chance, 3.0)
    assert tests.short_tail.threshold * tests.short_scale > 2.0 * before  # what it would be otherwise
    assert _short(tests) < 1.1 * RISE * before
    _teach(tests, 4 * DAY, chance, 3.0)
    assert _short(tests) > 2.0 * before


def test_a_threshold_falls_with_what_is_ordinary() -> None:
    tests, chance = MemberTests(), random.Random(1)
    _teach(tests, 3 * DAY, chance, 3.0)
    before = _short(tests)
    _teach(tests, 4 * DAY, chance)
    assert _short(tests) < 0.6 * before


def test_what_an_earlier_program_learned_is_carried_over() -> None:
    _, bench = run({("dev", name): noisy(5.0) for name in "abc"}, 24 * 3600, period_s=60)
    model = only_model(bench)
    numbers, rest = unpack(model.dump())
    assert all(test.short_usual > 0.0 for test in model.tests)
    later = 3 * len(model.tests) + model.echoes.bounded.size
    before_doubts = MateModel.load(pack(numbers[: -len(model.tests)], rest))
    assert (before_doubts.echoes.bounded == model.echoes.bounded).all()
    assert [test.doubts for test in before_doubts.tests] == [0.0, 0.0, 0.0]
    earlier = MateModel.load(pack(numbers[:-later], rest))
    assert earlier.ready
    assert (earlier.weights == model.weights).all()
    assert [test.short_usual for test in earlier.tests] == [0.0, 0.0, 0.0]
    assert [test.thresholds(0.0) for test in earlier.tests] == [
        (jump, test.short_tail.threshold * test.short_scale, test.long_tail.threshold * test.long_scale, spike)
        for test, (jump, _, _, spike) in ((test, test.thresholds(0.0)) for test in model.tests)
    ]
