"""Record small checkpoints of torch, Lightning, transformers and timm in `tests/checkpoints`.

Each program trains one network in float64, writes its checkpoint, and trains on for 200 updates. The
weights after these updates are in `trained_on.npz`. The parameters that transformers and timm decay are in
`decayed.json`. Run it in an environment of its own:

    pip install torch==2.13.0 pytorch-lightning==2.6.6 transformers==5.24.0 timm==1.0.31
    python scripts/recording/checkpoints.py
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning  # pyright: ignore[reportMissingImports]
import timm.optim  # pyright: ignore[reportMissingImports]
import timm.scheduler  # pyright: ignore[reportMissingImports]
import timm.utils  # pyright: ignore[reportMissingImports]
import torch
import transformers  # pyright: ignore[reportMissingImports]
from torch import nn


FOLDER = Path(__file__).parents[2] / "tests" / "checkpoints"
NUM_STEPS = 200  # after the checkpoint
BATCHES_PER_EPOCH = 10
RNG = np.random.default_rng(0)
INPUTS = torch.tensor(RNG.normal(size=(BATCHES_PER_EPOCH, 8, 4)))
TARGETS = torch.sin(INPUTS @ torch.tensor(RNG.normal(size=(4, 2))))

trained_on: dict[str, np.ndarray] = {}


class Network(nn.Module):
    """A network with matrices, biases and a norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 6)
        self.ln = nn.LayerNorm(6)
        self.second = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)
        self.double()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.second(self.ln(torch.tanh(self.first(inputs))))))


def loss_of(network: Any, inputs: Any, targets: Any) -> torch.Tensor:
    return ((network(inputs) - targets) ** 2).mean()


def record(case: str, model: nn.Module) -> None:
    """Record the weights at the end of a run."""
    for name, weight in model.state_dict().items():
        trained_on[f"{case}/{name}"] = weight.numpy()


# Plain torch


def plain() -> None:
    """Save a checkpoint at the end of an epoch, before the step of the scheduler, as many scripts do."""
    network = Network()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=0.01, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25),
        ],
        milestones=[2],
    )
    for epoch in range(3 + NUM_STEPS // BATCHES_PER_EPOCH):
        for inputs, targets in zip(INPUTS, TARGETS, strict=True):
            optimizer.zero_grad()
            loss_of(network, inputs, targets).backward()
            optimizer.step()
        if epoch == 2:
            parts = {"model": network, "optimizer": optimizer, "scheduler": scheduler}
            saved = {name: part.state_dict() for name, part in parts.items()}
            torch.save({"epoch": epoch, **saved}, FOLDER / "torch.pt")
        scheduler.step()
    record("torch", network)


# Lightning


class Lit(lightning.LightningModule):
    """A module of Lightning with an optimizer and a scheduler of choice."""

    def __init__(self, optimizer: Callable[..., Any], scheduler: Callable[..., Any], **config: Any):
        super().__init__()
        self.model = Network()
        self.builders, self.config = (optimizer, scheduler), config

    def configure_optimizers(self) -> Any:
        build_optimizer, build_scheduler = self.builders
        optimizer = build_optimizer(self.model)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": build_scheduler(optimizer), **self.config},
        }

    def training_step(self, batch: Any, index: int) -> Any:
        return loss_of(self.model, *batch)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", loss_of(self.model, *batch))


class SaveAt(lightning.Callback):
    """A callback that saves where ModelCheckpoint does."""

    def __init__(self, path: Path, step: int, *, after_validation: bool = False):
        self.path, self.step, self.after_validation = path, step, after_validation

    def _save(self, trainer: Any) -> None:
        if trainer.global_step == self.step and not trainer.sanity_checking and not self.path.exists():
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if not self.after_validation:
            self._save(trainer)

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        if self.after_validation:
            self._save(trainer)


def lit(case: str, module: Lit, step: int, *, after_validation: bool = False, **options: Any) -> None:
    path = FOLDER / f"{case}.ckpt"
    path.unlink(missing_ok=True)
    data = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(INPUTS, TARGETS), batch_size=None, shuffle=False
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        accelerator="cpu",
        precision="64-true",
        max_steps=step + NUM_STEPS,
        max_epochs=-1,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        callbacks=[SaveAt(path, step, after_validation=after_validation)],
        **quiet,
        **options,
    )
    trainer.fit(module, data, data)
    record(case, module)


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the biases and norms, then the matrices, with a rate of their own."""
    vectors = [each for each in model.parameters() if each.ndim < 2]
    matrices = [each for each in model.parameters() if each.ndim >= 2]
    return [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "lr": 0.002}]


def lightning_runs() -> None:
    lit(
        "lightning_one_cycle",  # in the middle of an epoch, with accumulated gradients
        Lit(
            lambda model: torch.optim.AdamW(decay_groups(model), lr=0.001, weight_decay=0.1),
            lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.02, 0.01], 240),
            interval="step",
        ),
        13,
        accumulate_grad_batches=2,
    )
    lit(
        "lightning_plateau",  # after the validation, which is before the step of the plateau
        Lit(
            lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.5, patience=0, threshold=0.1
            ),
            monitor="val_loss",
        ),
        80,
        after_validation=True,
    )
    lit(
        "lightning_epoch",  # in the middle of an epoch
        Lit(
            lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
            lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30),
            interval="epoch",
        ),
        27,
    )


# Hugging Face


class Trained(transformers.PreTrainedModel):
    """The network as a model of transformers."""

    config_class = transformers.PretrainedConfig

    def __init__(self, config: Any):
        super().__init__(config)
        self.model = Network()
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        pass  # the network has its weights

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> Any:
        return {"loss": ((self.model(inputs) - labels) ** 2).mean()}


class OrderedTrainer(transformers.Trainer):
    """A Trainer that does not shuffle."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class SaveAtStep(transformers.TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save = state.global_step == self.step


def huggingface(case: str, step: int, **options: Any) -> None:
    rows = [
        {"inputs": x, "labels": y} for x, y in zip(INPUTS.flatten(0, 1), TARGETS.flatten(0, 1), strict=True)
    ]
    with tempfile.TemporaryDirectory() as output:
        arguments = transformers.TrainingArguments(
            output_dir=output,
            max_steps=step + NUM_STEPS,
            per_device_train_batch_size=8,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_steps=100,
            **options,
        )
        model = Trained(transformers.PretrainedConfig()).double()
        trainer = OrderedTrainer(
            model=model, args=arguments, train_dataset=rows, callbacks=[SaveAtStep(step)]
        )
        trainer.train()
        record(case, model)
        folder = FOLDER / case
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("optimizer.pt", "scheduler.pt", "trainer_state.json", "model.safetensors"):
            shutil.copy(Path(output) / f"checkpoint-{step}" / name, folder)


# timm


def timm_run() -> None:
    """Follow the loop of timm's train.py, which saves before the scheduler steps."""
    args = argparse.Namespace(
        model="network",
        opt="adamw",
        lr=0.01,
        weight_decay=0.05,
        sched="cosine",
        sched_on_updates=False,
        epochs=30,
        warmup_epochs=2,
        warmup_lr=1e-4,
        min_lr=1e-4,
        cooldown_epochs=0,
        clip_grad=None,
    )
    network = Network()
    optimizer = timm.optim.create_optimizer_v2(
        network, opt=args.opt, lr=args.lr, weight_decay=args.weight_decay
    )
    scheduler, _ = timm.scheduler.create_scheduler_v2(
        optimizer,
        sched=args.sched,
        num_epochs=args.epochs,
        warmup_epochs=args.warmup_epochs,
        warmup_lr=args.warmup_lr,
        min_lr=args.min_lr,
        updates_per_epoch=BATCHES_PER_EPOCH,
    )
    with tempfile.TemporaryDirectory() as output:
        saver = timm.utils.CheckpointSaver(network, optimizer, args, checkpoint_dir=output)
        for epoch in range(4 + NUM_STEPS // BATCHES_PER_EPOCH):
            for batch, (inputs, targets) in enumerate(zip(INPUTS, TARGETS, strict=True)):
                optimizer.zero_grad()
                loss_of(network, inputs, targets).backward()
                optimizer.step()
                scheduler.step_update(epoch * BATCHES_PER_EPOCH + batch + 1)
            if epoch == 3:
                saver.save_checkpoint(epoch, metric=0.0)
                shutil.copy(Path(output) / "checkpoint-3.pth.tar", FOLDER / "timm.pth.tar")
            scheduler.step(epoch + 1)
    record("timm", network)


# Weight decay


class Modules(nn.Module):
    """One module of each kind that a rule of weight decay tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.conv = nn.Conv2d(4, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.bn = nn.BatchNorm2d(4)
        self.query = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.gamma = nn.Parameter(torch.ones(4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 3, 4))


def decayed() -> dict[str, list[str]]:
    """Return the names of the parameters that each framework decays."""
    model = Modules()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = timm.optim.param_groups_weight_decay(model, 0.1, no_weight_decay_list=["pos_embed"])
    of_timm = [names[id(each)] for group in groups if group["weight_decay"] for each in group["params"]]
    of_trainer = transformers.Trainer.get_decay_parameter_names(None, model)  # pyright: ignore
    return {"huggingface": sorted(of_trainer), "timm": sorted(of_timm)}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    plain()
    lightning_runs()
    huggingface(
        "huggingface_cosine",
        25,
        learning_rate=0.01,
        weight_decay=0.1,
        lr_scheduler_type="cosine",
        warmup_steps=10,
        gradient_accumulation_steps=2,
        max_grad_norm=0.2,
    )
    timm_run()
    np.savez_compressed(FOLDER / "trained_on.npz", **trained_on)  # pyright: ignore[reportArgumentType]
    (FOLDER / "decayed.json").write_text(json.dumps(decayed(), indent=1) + "\n")
    total = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"recorded {total} bytes in {FOLDER}")


if __name__ == "__main__":
    main()
