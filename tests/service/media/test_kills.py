"""A few of the kills of ``python -m benchmarks.kills``, of tiny networks."""

from benchmarks.kills import kill_again_and_again
from service.settings import Settings
from tests.fixtures.painted import PaintedDetector


def test_killed_services_lose_no_result_and_leave_nothing(settings: Settings, clip: bytes) -> None:
    ledger = kill_again_and_again(settings, PaintedDetector(), "ada", clip, kills=6, span=1.5, seed=3)
    assert ledger.kills == 6
    assert ledger.results
    assert ledger.results_at_stake
    assert ledger.wrong == []
