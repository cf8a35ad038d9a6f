"""How long ago something was, whatever the wall clock says meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn import boot_clock
from attn.boot_clock import Moment
from tests.clocks import Clocks

STEPS = [-86400.0, -1.0, 0.0, 1.0, 86400.0]


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch, [boot_clock])


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_wall_clock_is_no_time(clocks: Clocks, step: float) -> None:
    then = Moment.now()
    clocks.go_by(40)
    clocks.step(step)
    assert then.seconds_ago() == pytest.approx(40, abs=0.01)
    assert Moment.now().time == clocks.wall


@pytest.mark.parametrize("clock", [None, "", "another-boot:3.0", "damaged", f"{boot_clock.boot_id()}:much"])
def test_of_another_machine_or_version_the_wall_clock_has_to_tell(clocks: Clocks, clock: str | None) -> None:
    then = Moment(clocks.wall, clock)
    clocks.go_by(40)
    assert then.seconds_ago() == pytest.approx(40, abs=0.01)
    clocks.step(-86400)
    assert then.seconds_ago() == 0.0


def test_a_system_without_such_a_clock(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(boot_clock, "BOOT_ID", tmp_path / "absent")
    boot_clock.boot_id.cache_clear()
    request.addfinalizer(boot_clock.boot_id.cache_clear)
    then = Moment.now()
    assert then == Moment(clocks.wall, None)
    clocks.go_by(40)
    assert then.seconds_ago() == pytest.approx(40, abs=0.01)
