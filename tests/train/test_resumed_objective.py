"""A training whose objective learns too, stopped at a validation and begun again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.core.fingerprint import digest_folder
from tests.train.bench import Bench, Judgement

SCORES = [0.5, 0.6, 0.7, 0.8]
BILSTM: dict[str, Any] = {
    "model": {"architecture": "bilstm", "lstm_size": 5, "n_layers": 2, "hidden_size": 7},
    "objectives": {
        "soft_target": {},
        "adversarial": {"layer_map": [[1, 3]], "projection": True, "hidden_size": 8},
        "attentions": {"layer_map": [[1, 2], [1, 4]]},
    },
}


def test_discriminators_go_on_where_they_were(tmp_path: Path, bench: Bench) -> None:
    """Catches discriminators, projections or their moments that a resumed training draws anew."""
    whole, stopped = tmp_path / "students" / "whole", tmp_path / "students" / "stopped"
    bench.run(whole, student=BILSTM, judge=Judgement(SCORES), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        bench.run(stopped, student=BILSTM, judge=Judgement(SCORES[:2]), epochs=4)
    kept = tmp_path / "unfinished" / "stopped" / "state.pt"
    learner = torch.load(kept, weights_only=True)["state"]["learner"]
    assert learner["step"] == 8
    own = [name for name in learner["objective"] if "adversarial" in name]
    assert len(own) == 5  # two layers of a discriminator, and a map of the student's states
    rest = Judgement(SCORES[2:])
    bench.run(stopped, student=BILSTM, judge=rest, epochs=4)
    assert len(rest.logits) == 2, "what was trained before is not trained again"
    ours, theirs = (load_file(path / "model.safetensors") for path in (stopped, whole))
    assert ours.keys() == theirs.keys() and len(ours) > 10
    assert all(torch.equal(values, theirs[name]) for name, values in ours.items())
    files = [digest_folder(path, without=["README.md"]) for path in (stopped, whole)]
    assert files[0] == files[1]  # curves of every term too


@pytest.mark.parametrize("part", ["objective", "optimizer"])
def test_a_part_that_is_lost_is_seen(tmp_path: Path, bench: Bench, part: str) -> None:
    """Negative control: without the discriminators' weights or moments the student is another."""
    whole, stopped = tmp_path / "students" / "whole", tmp_path / "students" / "stopped"
    bench.run(whole, student=BILSTM, judge=Judgement(SCORES[:2]), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        bench.run(stopped, student=BILSTM, judge=Judgement(SCORES[:1]), epochs=2)
    path = tmp_path / "unfinished" / "stopped" / "state.pt"
    kept = torch.load(path, weights_only=True)
    state = kept["state"]["learner"][part]
    if part == "objective":
        state.update({name: torch.zeros_like(values) for name, values in state.items()})
    else:
        for moments in state["state"].values():
            moments["exp_avg"].zero_()
    torch.save(kept, path)
    bench.run(stopped, student=BILSTM, judge=Judgement(SCORES[1:2]), epochs=2)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (stopped, whole))
    assert not all(torch.equal(values, theirs[name]) for name, values in ours.items())
