"""Garbage collection while packages are imported."""

import gc
import weakref

import pytest

from beam_pipeline.runtime.memory import first_import, release_memory


@pytest.fixture(autouse=True)
def _unfrozen():
    yield
    gc.unfreeze()


def test_no_garbage_is_collected_during_a_first_import_and_what_is_there_is_not_looked_at_again():
    before = gc.get_freeze_count()
    with first_import("a_package_that_is_not_imported"):
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > before


def test_a_package_that_is_there_changes_nothing():
    before = gc.get_freeze_count()
    with first_import("gc"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_garbage_is_collected_again_after_an_import_that_failed():
    with pytest.raises(ImportError), first_import("a_package_that_is_not_imported"):
        raise ImportError
    assert gc.isenabled()


def test_what_refers_to_itself_is_freed():
    class Cycle:
        def __init__(self):
            self.me = self

    cycle = weakref.ref(Cycle())
    release_memory()
    assert cycle() is None
