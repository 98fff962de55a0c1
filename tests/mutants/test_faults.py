"""Every listed fault can still be planted: its text stands once in its file, its tests exist."""

import importlib.util
import pathlib

FILE = pathlib.Path(__file__).parent / "plant.py"
SPEC = importlib.util.spec_from_file_location("plant", FILE)
plant = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plant)


def test_the_text_of_every_fault_stands_once_in_its_file():
    assert [wrong for fault in plant.load() if (wrong := plant.misplaced(fault))] == []


def test_the_tests_of_every_fault_exist_and_are_not_slow():
    for fault in plant.load():
        for test in fault.tests:
            file, *function = test.partition("[")[0].split("::")
            assert (plant.ROOT / file).exists(), test
            text = (plant.ROOT / file).read_text()
            assert not function or f"def {function[0]}(" in text, test
            # Slow tests are left out of a run, and without tests pytest ends with an error.
            assert "pytestmark = pytest.mark.slow" not in text, test


def test_at_least_150_faults_are_listed_and_some_of_every_room():
    faults = plant.load()
    assert len(faults) >= 150
    rooms = {path.parent.name for path in (plant.ROOT / "ehr_jax").glob("*/__init__.py")}
    assert rooms <= {fault.room for fault in faults}


def test_a_fault_out_of_place_is_told():
    fault = plant.load()[0]
    moved = plant.dataclasses.replace(fault, find="no such text")
    assert "0 times, not once" in plant.misplaced(moved)
    assert "by itself" in plant.misplaced(plant.dataclasses.replace(fault, put=fault.find))


def test_the_table_names_each_room_and_each_survivor():
    one, two = plant.load()[:2]
    lines = plant.table({one: True, two: False}).splitlines()
    assert lines[1].split() == [one.room, "2", "1", "50.0%"]
    assert lines[-1] == f"survived: {two.title}"
