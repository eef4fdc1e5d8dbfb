from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.generators.nat import NAT, NATConfig
from models.training import training
from models.training.masked_loss import Share, batch_loss, draw_batch
from models.training.rows import MappedRows
from models.training.settings import TrainingSettings
from models.training.steps import Steps
from models.training.training import train
from search.training_strategy import TrainingStrategy

CONFIG = NATConfig(codebook_size=5, tokens=9, num_classes=2, width=16, depth=2, num_heads=2)
SETTINGS = TrainingSettings(
    TrainingStrategy("cosine"), steps=60, batch_size=8, learning_rate=3e-3, warmup_steps=5
)


class KilledError(Exception):
    """What ends a run from outside."""


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """Images of one word each, the class's."""
    classes = torch.arange(40) % 2
    return (classes[:, None] * 3).expand(-1, 9).contiguous(), classes


@pytest.fixture(autouse=True)
def _frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 20)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "REPORT_EVERY", 10)


def silent(*_: object) -> None:
    pass


def kill_at(step: int) -> Callable[[int, int, str], None]:
    def report(done: int, *_: object) -> None:
        if done == step:
            raise KilledError

    return report


def equal(one: NAT, other: NAT) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("killed_at", [10, 30, 50])
def test_a_killed_run_goes_on_to_the_same_weights(
    data: tuple[Tensor, Tensor], killed_at: int, tmp_path: Path
) -> None:
    whole = train(CONFIG, SETTINGS, *data, tmp_path / "whole", silent)
    with pytest.raises(KilledError):
        train(CONFIG, SETTINGS, *data, tmp_path / "killed", kill_at(killed_at))
    seen: list[int] = []
    resumed = train(
        CONFIG, SETTINGS, *data, tmp_path / "killed", lambda done, *_: seen.append(done)
    )
    assert seen[0] == killed_at // 20 * 20 + 10  # not from the start
    assert equal(whole, resumed)


def test_a_half_written_checkpoint_is_not_looked_at(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    whole = train(CONFIG, SETTINGS, *data, tmp_path / "whole", silent)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "training.pt.partial").write_bytes(b"PK\x03\x04")
    assert equal(whole, train(CONFIG, SETTINGS, *data, tmp_path / "killed", silent))


def test_a_finished_run_is_only_read(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    whole = train(CONFIG, SETTINGS, *data, tmp_path, silent)
    assert equal(whole, train(CONFIG, SETTINGS, *data, tmp_path, kill_at(10)))


def test_the_seed_decides_and_the_global_generator_is_left_alone(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = train(CONFIG, SETTINGS, *data, tmp_path / "one", silent)
    assert torch.equal(torch.rand(1), expected)
    assert equal(one, train(CONFIG, SETTINGS, *data, tmp_path / "again", silent))
    other = dataclasses.replace(SETTINGS, seed=1)
    assert not equal(one, train(CONFIG, other, *data, tmp_path / "other", silent))


def test_it_learns_and_reports(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=200, label_smoothing=0.0, ema_decay=0.9)
    reports: list[tuple[int, int, str]] = []
    nat = train(CONFIG, settings, *data, tmp_path, lambda *words: reports.append(words))
    assert not nat.training
    assert [done for done, _, _ in reports] == list(range(10, 201, 10))
    assert {total for _, total, _ in reports} == {200}
    assert float(reports[-1][2].removeprefix("loss ")) < 0.3
    with torch.inference_mode():
        logits = nat(torch.full((2, 9), nat.mask_token), torch.tensor([0, 1]))
    assert logits.argmax(-1).tolist() == [[0] * 9, [3] * 9]


def test_a_diverged_run_names_its_step(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(ValueError, match="training diverged: loss = nan at step 10"):
        train(CONFIG, settings, *data, tmp_path, silent)
    assert not (tmp_path / "training.pt").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_another_file_in_place_of_the_checkpoint_is_one_line(
    data: tuple[Tensor, Tensor], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "training.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"training.pt: not a training checkpoint"):
        train(CONFIG, SETTINGS, *data, tmp_path, silent)


def test_a_checkpoint_of_another_network_is_one_line(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    train(CONFIG, SETTINGS, *data, tmp_path, silent)
    with pytest.raises(ValueError, match=r"training.pt: not a training checkpoint") as caught:
        train(dataclasses.replace(CONFIG, width=8), SETTINGS, *data, tmp_path, silent)
    assert "\n" not in str(caught.value)


def test_masks_and_dropped_classes_are_as_the_paper_says(data: tuple[Tensor, Tensor]) -> None:
    nat = NAT(CONFIG)
    settings = dataclasses.replace(
        SETTINGS, strategy=TrainingStrategy("beta", {"alpha": 12.0, "beta": 3.0}), batch_size=10_000
    )
    (batch,) = draw_batch(nat, settings, *data, 0)
    assert batch.masked.sum(1).min() >= 1
    assert batch.masked.float().mean().item() == pytest.approx(0.8, abs=0.01)  # 12 / (12 + 3)
    assert batch.masked.float().mean(0).tolist() == pytest.approx([0.8] * 9, abs=0.02)
    assert batch.dropped.float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert batch.weight == 1


def test_the_workers_share_what_one_has(data: tuple[Tensor, Tensor]) -> None:
    nat = NAT(CONFIG)
    (whole,) = draw_batch(nat, SETTINGS, *data, 3)
    settings = dataclasses.replace(SETTINGS, microbatch=2)
    shares = [draw_batch(nat, settings, *data, 3, Share(rank, 3)) for rank in range(3)]
    for rank, batches in enumerate(shares):
        for name in ("tokens", "masked", "conditions", "dropped"):
            together = torch.cat([getattr(batch, name) for batch in batches])
            assert torch.equal(together, getattr(whole, name)[rank::3])
    every = [batch for batches in shares for batch in batches]
    assert sum(batch.weight for batch in every) == pytest.approx(3)
    assert len({batch.seed for batch in every}) == len(every)


def test_microbatches_add_up_to_the_batch(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, dropout=0.0)
    whole = train(config, SETTINGS, *data, tmp_path / "whole", silent)
    divided = dataclasses.replace(SETTINGS, microbatch=3)
    parts = train(config, divided, *data, tmp_path / "parts", silent)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], weight, atol=2e-4, rtol=1e-3)


def test_bfloat16_trains_alike(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    found: dict[str, float] = {}
    lines: list[str] = []
    for precision in ("float32", "bfloat16"):
        settings = dataclasses.replace(SETTINGS, precision=precision)
        nat = train(CONFIG, settings, *data, tmp_path / precision, lambda *w: lines.append(w[2]))
        assert all(weight.dtype == torch.float32 for weight in nat.state_dict().values())
        found[precision] = float(lines[-1].removeprefix("loss "))
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.1)


def test_rows_are_read_from_disk(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    rows = np.concatenate([data[1][:, None].numpy(), data[0].numpy()], axis=1).astype(np.int16)
    np.save(tmp_path / "tokens.npy", rows)
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    every = np.arange(len(rows))
    on_disk = MappedRows(mapped[:, 1:], every), MappedRows(mapped[:, 0], every)
    one = train(CONFIG, SETTINGS, *data, tmp_path / "memory", silent)
    assert equal(one, train(CONFIG, SETTINGS, *on_disk, tmp_path / "disk", silent))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("batch_size", True),
        ("warmup_steps", -1),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", float("inf")),
        ("label_smoothing", 1.0),
        ("class_dropout", -0.1),
        ("ema_decay", 1.0),
        ("betas", (0.9, 1.0)),
        ("betas", (0.9,)),
        ("microbatch", 2.5),
        ("precision", "float16"),
        ("microbatch", 0),
    ],
)
def test_settings_outside_their_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        dataclasses.replace(SETTINGS, **{name: value})


class CountedRows(MappedRows):
    """Counts what is read from disk."""

    read = 0

    def __getitem__(self, numbers: Tensor, /) -> Tensor:
        self.read += len(numbers)
        return super().__getitem__(numbers)


def test_texts_are_learned_from_disk_batch_by_batch(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    states = torch.randn(2, 3, 4)  # of two captions
    np.save(tmp_path / "states.npy", states.half().numpy())
    mapped = np.load(tmp_path / "states.npy", mmap_mode="r")
    texts = CountedRows(mapped, data[1].numpy(), torch.float32)
    config = NATConfig(5, 9, None, width=16, depth=2, num_heads=2, context_width=4)
    settings = dataclasses.replace(SETTINGS, steps=200, label_smoothing=0.0, ema_decay=0.9)
    null = torch.zeros(3, 4)
    nat = train(config, settings, data[0], texts, tmp_path / "t", silent, null_context=null)
    assert texts.read == 200 * settings.batch_size
    assert torch.equal(nat.null_context, null)
    with torch.inference_mode():
        logits = nat(torch.full((2, 9), nat.mask_token), states.half().float())
    assert logits.argmax(-1).tolist() == [[0] * 9, [3] * 9]


def test_texts_are_dropped_where_classes_would_be(data: tuple[Tensor, Tensor]) -> None:
    settings = dataclasses.replace(SETTINGS, batch_size=4000)
    of_classes = NAT(CONFIG)
    of_texts = NAT(NATConfig(5, 9, None, width=16, depth=2, num_heads=2, context_width=4))
    of_texts.set_null_context(torch.full((3, 4), 7.0))
    states = torch.randn(40, 3, 4)
    (one,) = draw_batch(of_classes, settings, *data, 0)
    (other,) = draw_batch(of_texts, settings, data[0], states, 0)
    dropped = of_classes.without(one.conditions, one.dropped) == of_classes.null_class
    assert dropped.float().mean().item() == pytest.approx(settings.class_dropout, abs=0.02)
    shown = of_texts.without(other.conditions, other.dropped)
    assert torch.equal((shown == 7).all((1, 2)), dropped)
    assert torch.equal(other.masked, one.masked)
    assert torch.equal(other.tokens, one.tokens)


def test_training_on_texts_needs_a_null_context(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    config = NATConfig(5, 9, None, width=16, depth=2, num_heads=2, context_width=4)
    with pytest.raises(ValueError, match="no null context is set"):
        train(config, SETTINGS, data[0], torch.zeros(40, 3, 4), tmp_path, silent)


def test_the_loss_at_all_positions_is_that_of_the_masked_ones(data: tuple[Tensor, Tensor]) -> None:
    nat = NAT(dataclasses.replace(CONFIG, dropout=0.0))
    (batch,) = draw_batch(nat, SETTINGS, *data, 0)
    gradients = []
    for fixed in (False, True):
        loss = batch_loss(nat, nat, batch, 0.1, fixed)
        gradients.append((loss.item(), *torch.autograd.grad(loss, nat.mid_block.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(torch.as_tensor(one), torch.as_tensor(other), atol=1e-6)


def test_the_average_is_that_of_torch() -> None:
    torch.manual_seed(0)
    nat = NAT(CONFIG)
    expected = AveragedModel(nat, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    found = AveragedModel(nat, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    settings = dataclasses.replace(SETTINGS, ema_decay=0.9)
    steps = Steps(nat, nat, found, torch.optim.AdamW(nat.parameters()), settings)
    for step in range(3):
        with torch.no_grad():
            for parameter in nat.parameters():
                parameter.add_(torch.randn_like(parameter))
        expected.update_parameters(nat)
        steps.update_average(first=step == 0)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name


def test_where_steps_cannot_be_recorded_they_are_taken_and_a_warning_says_so(
    data: tuple[Tensor, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = dataclasses.replace(CONFIG, dropout=0.0)
    settings = dataclasses.replace(SETTINGS, steps=6)
    expected = train(config, settings, *data, tmp_path / "a", silent)
    monkeypatch.setattr(training, "can_record", lambda *_: True)
    found = train(config, settings, *data, tmp_path / "b", silent)  # this machine has no graphs
    assert "training steps are not recorded, and slower: " in caplog.text
    for one, other in zip(expected.parameters(), found.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_batches_that_a_thread_draws_ahead_are_the_same(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    nat = NAT(CONFIG)
    monkeypatch.setattr(training, "device", lambda: "cuda")
    drawn = training._ahead(lambda step: draw_batch(nat, SETTINGS, *data, step), range(3, 6))
    for step, (batch,) in zip(range(3, 6), drawn, strict=True):
        (expected,) = draw_batch(nat, SETTINGS, *data, step)
        assert torch.equal(batch.tokens, expected.tokens)
        assert torch.equal(batch.masked, expected.masked)
