"""The times of a file's frames or sounds, of which some may be damaged."""

BEHIND = 10  # steps; what is further behind the time before has begun anew


class Timeline:
    """Times that rise, in ticks from 0 to `end`: one that stands still, runs back or jumps away is guessed anew."""

    def __init__(self, end: float) -> None:
        self.end = end
        self._last = -1

    def place(self, told: int | None, step: int, following: int | None = None) -> int:
        """The time of what is `step` long, as the file tells it or next to the one before.

        `following` is what the file tells of the one after it: if that is in time, a jump beyond it is damage.
        """
        step, last = max(1, step), self._last
        jumps = told is not None and following is not None and last < following < told and told > last + 2 * step
        if told is not None and last < told <= self.end and not jumps:
            self._last = told
        elif last < 0:
            self._last = 0
        elif following is not None and last < following:
            self._last = last + min(step, max(1, (following - last) // 2))  # so that it can be believed in turn
        else:
            self._last = last + (1 if told is not None and 0 <= last - told < BEHIND * step else step)
        return self._last
