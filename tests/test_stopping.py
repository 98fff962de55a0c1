"""Being told to end: at once, or at the end of what is deferred."""

import os
import signal

import pytest

from ehr_jax import stopping


def told() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_block_that_is_deferred_goes_on_to_its_end():
    done = []
    with pytest.raises(stopping.Stopped), stopping.by_signal():
        with stopping.deferred() as is_told:
            assert not is_told()
            told()
            assert is_told() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            done.append("saved")
        done.append("went on")
    assert done == ["saved"]


def test_elsewhere_it_ends_at_once():
    with pytest.raises(stopping.Stopped), stopping.by_signal():
        with stopping.deferred() as is_told:
            pass
        told()
        pytest.fail("went on")
    assert not is_told()


def test_another_program_keeps_its_own_answer_to_the_signal():
    before = signal.getsignal(signal.SIGTERM)
    with stopping.by_signal():
        pass
    with stopping.deferred():
        assert signal.getsignal(signal.SIGTERM) is before
