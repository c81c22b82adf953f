"""What all tests of files start with."""

from collections.abc import Iterator

import pytest

import contract
from cast import Api, alice


@pytest.fixture(autouse=True)
def as_documented() -> Iterator[None]:
    """Every answer is as the document promises."""
    with contract.watch():
        yield


@pytest.fixture
def api(db: None) -> Api:
    """Alice's calls."""
    return Api(alice())
