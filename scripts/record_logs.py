"""Record small logs of Hugging Face's Trainer, Lightning, MMEngine and jaxlr for tests/test_verify.py.

Each package is recorded if it is installed:
pip install torch==2.13.0 transformers accelerate lightning tensorboard mmengine
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


LOGS = Path(__file__).parents[1] / "tests" / "logs"


def record_transformers(folder: Path) -> None:
    """Train 40 updates with a warmup of 5 and a cosine, and log each update, as JSON and to TensorBoard."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x, labels):
            return {"loss": ((self.layer(x) - labels) ** 2).mean()}

    samples = [{"x": torch.ones(2), "labels": torch.zeros(1)} for _ in range(40)]
    settings: dict[str, Any] = {
        "learning_rate": 3e-4,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "num_train_epochs": 4,
        "per_device_train_batch_size": 4,
    }
    arguments = transformers.TrainingArguments(
        **settings,
        output_dir=str(folder / "run"),
        logging_steps=1,
        use_cpu=True,
        save_steps=40,
        report_to="tensorboard",
        disable_tqdm=True,
    )
    transformers.Trainer(Model(), arguments, train_dataset=samples).train()
    shutil.copy(folder / "run" / "checkpoint-40" / "trainer_state.json", LOGS / "trainer_state.json")
    (LOGS / "trainer.json").write_text(json.dumps(settings, indent=1) + "\n")
    (events,) = folder.rglob("*tfevents*")
    shutil.copy(events, LOGS / "trainer.tfevents")


def record_lightning(folder: Path) -> None:
    """Train 3 epochs of 8 batches, once with a schedule by step and once with one by epoch."""
    import lightning  # pyright: ignore[reportMissingImports]
    import torch  # pyright: ignore[reportMissingImports]
    from lightning.pytorch.callbacks import LearningRateMonitor  # pyright: ignore[reportMissingImports]
    from lightning.pytorch.loggers import CSVLogger  # pyright: ignore[reportMissingImports]

    def scheduler_of(optimizer, interval):
        schedulers = torch.optim.lr_scheduler
        if interval == "step":
            return schedulers.OneCycleLR(optimizer, 0.1, total_steps=24)
        return schedulers.StepLR(optimizer, 1, gamma=0.3)

    class Module(lightning.LightningModule):
        def __init__(self, interval):
            super().__init__()
            self.interval, self.layer = interval, torch.nn.Linear(2, 1)

        def training_step(self, batch, batch_index):
            loss = self.layer(batch[0]).mean()
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
            scheduler = {"scheduler": scheduler_of(optimizer, self.interval), "interval": self.interval}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(32, 2)), batch_size=4)
    for interval in ("step", "epoch"):
        logger = CSVLogger(folder, name=interval)
        trainer = lightning.Trainer(
            max_epochs=3,
            logger=logger,
            callbacks=[LearningRateMonitor()],
            log_every_n_steps=2,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_checkpointing=False,
        )
        trainer.fit(Module(interval), loader)
        shutil.copy(Path(logger.log_dir) / "metrics.csv", LOGS / f"lightning_{interval}.csv")


def record_mmengine(folder: Path) -> None:
    """Train 3 epochs of 10 iterations with a linear warmup and a MultiStepLR."""
    import torch  # pyright: ignore[reportMissingImports]
    from mmengine.model import BaseModel  # pyright: ignore[reportMissingImports]
    from mmengine.runner import Runner  # pyright: ignore[reportMissingImports]

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, inputs, mode="tensor"):
            return {"loss": self.layer(inputs).mean()}

    runner = Runner(
        Model(),
        work_dir=str(folder / "mmengine"),
        train_dataloader={
            "dataset": [{"inputs": torch.ones(2)}] * 40,
            "batch_size": 4,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "collate_fn": {"type": "default_collate"},
        },
        train_cfg={"by_epoch": True, "max_epochs": 3},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.02}},
        param_scheduler=[
            {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 8},
            {"type": "MultiStepLR", "by_epoch": True, "milestones": [2], "gamma": 0.1},
        ],
        default_hooks={"logger": {"type": "LoggerHook", "interval": 2}},
    )
    runner.train()
    (log,) = (folder / "mmengine").rglob("scalars.json")
    shutil.copy(log, LOGS / "scalars.json")


def record_jaxlr(folder: Path) -> None:
    """Train 5 epochs on the bundled digits."""
    flags = ["--scheduler", "ExponentialLR(gamma=0.7)", "--lr", "0.3", "--epochs", "5"]
    command = [sys.executable, "-m", "jaxlr", "train", *flags, "--out", str(folder / "jaxlr")]
    subprocess.run(command, check=True)
    shutil.copy(folder / "jaxlr" / "metrics.jsonl", LOGS / "metrics.jsonl")


RECORDERS = {
    "transformers": record_transformers,
    "lightning": record_lightning,
    "mmengine": record_mmengine,
    "jaxlr": record_jaxlr,
}

if __name__ == "__main__":
    LOGS.mkdir(exist_ok=True)
    for package, record in RECORDERS.items():
        if importlib.util.find_spec(package):
            with tempfile.TemporaryDirectory() as scratch:
                record(Path(scratch))
            print(f"recorded the log of {package}")
