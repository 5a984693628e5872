"""What a person sees of a training: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Shows loss terms, examples per second and the time left."""

    def __init__(self, title: str, n_examples: int, n_done: int, *, is_shown: bool) -> None:
        """Begin after `n_done` of `n_examples`, counting an example in each epoch."""
        self._title = title
        self._is_shown = is_shown
        self._bar = tqdm(
            desc=title,
            total=n_examples,
            initial=n_done,
            unit="ex",
            disable=None if is_shown else True,  # None: shown on a terminal only
        )
        self._n_left = n_examples - n_done
        self._n_seen = 0
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def add(self, n_examples: int, step: int, n_steps: int, values: Mapping[str, float]) -> None:
        """Show the step that read these examples, with the values of its loss terms by name."""
        self._n_seen += n_examples
        shown = {name: f"{value:.4f}" for name, value in values.items()}
        if not self._bar.disable:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(n_examples)
            return
        now = time.monotonic()
        is_last = step == n_steps
        if not self._is_shown or (now - self._last_line < _SECONDS_BETWEEN_LINES and not is_last):
            return
        self._last_line = now
        rate = self._n_seen / max(now - self._began, 1e-9)
        left = max(0, self._n_left - self._n_seen) / rate
        terms = ", ".join(f"{name} {value}" for name, value in shown.items())
        speed = f"{rate:,.0f} examples/s, {left / 60:.0f} min left"
        self.say(f"step {step:,} of {n_steps:,}: {'; '.join(filter(None, (terms, speed)))}")

    def say(self, text: str) -> None:
        """Show a line above the bar."""
        if self._is_shown:
            tqdm.write(f"{self._title}: {text}", file=sys.stderr)
