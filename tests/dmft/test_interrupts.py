import signal
import threading

import pytest

import dmft
from dmft.interrupts import deferred, interruptible


@pytest.fixture(autouse=True)
def _handler_comes_back():
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    yield
    assert signal.signal(signal.SIGINT, own) is signal.default_int_handler


def test_a_deferred_interrupt_comes_after_the_block():
    done = []

    def work():
        with deferred():
            signal.raise_signal(signal.SIGINT)
            with deferred():
                signal.raise_signal(signal.SIGINT)
            done.append("block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["block"]


def test_a_handler_of_the_caller_stays_in_charge():
    seen = []
    own = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with interruptible(), deferred():
            signal.raise_signal(signal.SIGINT)
            assert seen == []
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, own)


@pytest.mark.parametrize("what", ["lost", "another error"])
def test_what_becomes_of_an_interrupt_inside_does_not_matter(what):
    @interruptible()
    def work():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            if what == "another error":
                raise SystemError("returned a result with an exception set") from interrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_other_errors_pass():
    with pytest.raises(SystemError, match="a real one"), interruptible():
        raise SystemError("a real one")


def test_other_threads_neither_hold_back_nor_fail():
    done = []

    def work():
        with interruptible(), deferred():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


def spoiled(*progress):
    """Lose an interrupt as compiled code may: another error takes its place."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as interrupt:
        raise SystemError("returned a result with an exception set") from interrupt


@pytest.mark.parametrize(
    "verb",
    [
        lambda: dmft.solve(dmft.Problem(0.5), 1.0, rtol=0.1, progress=spoiled),
        lambda: dmft.simulate(dmft.Problem(0.5), [1.0], 20, 2, progress=spoiled),
    ],
    ids=["solve", "simulate"],
)
def test_every_verb_ends_with_keyboard_interrupt(verb):
    with pytest.raises(KeyboardInterrupt):
        verb()
