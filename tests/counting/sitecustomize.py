"""Counts, in every stage's process, forwards of a BERT encoder and optimizer steps.

Python imports a module of this name at start-up when it is on PYTHONPATH. One line is
appended to the file $COUNTS for each event; a forward comes with its number of rows and the
model's number of layers.
"""

import os
import sys
from typing import Any

if "COUNTS" in os.environ and any(part.startswith("stages.") for part in sys.orig_argv):
    from torch.compiler import is_exporting
    from torch.nn.modules.module import register_module_forward_hook
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def _note(event: str) -> None:
        with open(os.environ["COUNTS"], "a", encoding="utf-8") as file:
            file.write(f"{sys.orig_argv[-1]} {event}\n")

    def _count_forward(module: Any, args: Any, output: Any) -> None:
        # Counting the rows of an export's trace would fix their number in the file.
        if type(module).__name__ == "BertModel" and not is_exporting():
            _note(f"forward {len(output[0])} {module.config.num_hidden_layers}")

    def _count_step(optimizer: Any, args: Any, kwargs: Any) -> None:
        _note("step")

    register_module_forward_hook(_count_forward)
    register_optimizer_step_post_hook(_count_step)
