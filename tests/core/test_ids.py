import time
from uuid import UUID

from duely.core.ids import derived_id, new_id


def test_ids_are_of_version_seven_and_hold_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == UUID(int=0x2 << 62).variant
    assert before <= made.int >> 80 <= after


def test_ids_of_later_milliseconds_sort_behind_earlier_ones() -> None:
    first = new_id()
    time.sleep(0.002)
    assert new_id() > first


def test_ids_of_one_moment_differ_in_every_random_bit() -> None:
    made = [new_id().int for _ in range(500)]
    assert len(set(made)) == len(made)
    fixed = (0xF << 76) | (0x3 << 62) | (((1 << 48) - 1) << 80)
    seen_one = seen_zero = 0
    for value in made:
        seen_one |= value
        seen_zero |= ~value
    every_bit = (1 << 128) - 1
    assert (seen_one & seen_zero | fixed) & every_bit == every_bit


def test_derived_ids_are_of_version_eight_and_follow_from_all_their_parts() -> None:
    made = derived_id("a", "b")
    assert (made.version, made.variant) == (8, new_id().variant)
    assert made == derived_id("a", "b") == UUID("f04cdced-9736-869d-a610-3f08a4daaf8c")
    assert len({made, derived_id("b", "a"), derived_id("ab"), derived_id("a", "b", "")}) == 4
