"""Texts that people write to build a torch scheduler, by class, and texts that must be refused.

- `SPELLINGS` must give torch's curve. An entry is a text, a text with the values of its names, or a
  `Spelling`.
- `RARER` must give torch's curve or be refused.
- `REFUSED_BY_US` must be refused, at once.
- `COSTLY` may be read or refused, at once.

The forms are those that occur in public code. The texts are written for this table.
"""

import re
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


NO_NAMES: Mapping[str, Any] = MappingProxyType({})


class Spelling(NamedTuple):
    """A text, and what `from_string` and torch need in addition."""

    text: str
    names: Mapping[str, Any] = NO_NAMES
    for_torch: Mapping[str, str] = NO_NAMES  # what torch refuses, and its replacement
    steps: int = 100  # number of rates to compare; OneCycleLR has total_steps of them
    num_steps: int | None = None  # steps to tabulate, if there is no closed form
    lrs: tuple[float, ...] = (0.1,)  # learning rate of each parameter group
    group: int = 0

    @property
    def torch_text(self) -> str:
        """The text for torch 2.13: without `verbose`, which it has removed."""
        text = textwrap.dedent(self.text).strip()
        for old, new in self.for_torch.items():
            assert old in text, f"{old!r} is not in {text!r}"
            text = text.replace(old, new, 1)
        return re.sub(r",\s*verbose\s*=\s*[\w.]+", "", text)


NO_OPTIMIZER = {"(": "(optimizer, "}  # for a text without the optimizer


def for_each_group(text: str, names: Mapping[str, Any] = NO_NAMES, **more: Any) -> list[Spelling]:
    """Return the spellings of a text for each of the two groups of an optimizer."""
    return [Spelling(text, names, lrs=(0.1, 0.02), group=group, **more) for group in (0, 1)]


OPTIMIZERS = [
    "optimizer",
    "self.optimizer",
    "opt",
    "optim",
    "optimiser",
    "optimizer_ft",
    "optimizer_G",
    "self.opt_D",
    "self.optim",
    "self._optimizer",
    "self.__optimizer",
    "model_optim",
    "OPTIMIZER",
    "o",
    "optimizers[0]",
    "optimizers[-1]",
    "self.optimizers[0]",
    "self.optimizers['G']",
    'model_dict["opt"]',
    "self.pkg[method]['optimizer']",
    "optimizers[i][j]",
    "self.optimizers[name]",
    "state['optimizer']",
    "ckpt['train']['optimizer']",
    "optimizer.optimizer",
    "self.optimizer.optimizer",
    "trainer.optimizer.optimizer",
    "self.model.module.optimizer",
    "learner.agent.actor_optimizer",
    "net.optimizer()",
    "self.optimizers()",
    "self.optimizers()[0]",
    "get_optimizer(model)",
    "get_optimizer(model, lr=0.1)",
    "self.build_optimizer(cfg.optim, model)",
    "make_optimizer(net)[0]",
    "getattr(self, 'optimizer')",
    'getattr(self, "opt_" + name)',
    "getattr(trainer, 'opt').optimizer",
    "self.optim_dict[mode]",
    "(optimizer)",
    "optimizer=optimizer",
    "optimizer=self.optimizer",
    "optimizer = optims['main']",
    "optimizer=get_optimizer(model)",
]


_TABLE: dict[str, list[Any]] = {
    "StepLR": [
        "StepLR(optimizer, 30)",
        "StepLR(optimizer, 30, 0.5)",
        "StepLR(optimizer, 30, 0.5, -1)",
        "StepLR(optimizer, step_size=30)",
        "StepLR(optimizer, step_size=30, gamma=0.1, last_epoch=-1)",
        "StepLR(optimizer, gamma=0.5, step_size=20)",
        "StepLR(step_size=10, gamma=0.7, optimizer=opt)",
        "exp_lr_scheduler = lr_scheduler.StepLR(optimizer_ft, step_size=7, gamma=0.1)",
        "scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.95)",
        "torch.optim.lr_scheduler.StepLR(self.optimizer, 2, gamma=.97)",
        "self.scheduler_D = optim.lr_scheduler.StepLR(self.opt_D, step_size=3*10, gamma=1e-3*0.1)",
        "lr_sched.StepLR(optimizer, 20, gamma=2**-4)",
        "StepLR(optimizer,step_size=10,gamma=.5)",
        "StepLR( optimizer , step_size = 10 , gamma = 0.5 )",
        "StepLR (optimizer, 1_0, 1.e-1,)",
        "StepLR(optimizer, step_size=30., gamma=0.1)",
        "StepLR(optimizer, 1e1, 5e-1)",
        "return StepLR(optimizer, step_size=25)",
        "scheduler: LRScheduler = StepLR(optimizer, step_size=25, gamma=1 / 3)",
        Spelling("StepLR(30)", for_torch=NO_OPTIMIZER),
        Spelling("StepLR(step_size=10, gamma=0.5)", for_torch=NO_OPTIMIZER),
        "StepLR(optimizer, step_size=30, verbose=True)",
        "StepLR(optimizer, 30, 0.2, verbose=0)",
        "torch.optim.lr_scheduler.StepLR(optimizer, 10, gamma=0.5, last_epoch=-1, verbose=args.verbose)",
        Spelling("StepLR(optimizer, 10, 0.5, -1, True)", for_torch={", True": ""}),
        Spelling("StepLR(optimizer, 10, 0.5, -1, verbose)", for_torch={", verbose": ""}),
        (
            "StepLR(optimizer, step_size=args.lr_step, gamma=args.lr_gamma)",
            {"args.lr_step": 12, "args.lr_gamma": 0.3},
        ),
        ("sched.StepLR(opt, step_size=epochs//3, gamma=1/3)", {"epochs": 90}),
        ("StepLR(optimizer, int(0.3*epochs), 0.1)", {"epochs": 90}),
        (
            "StepLR(optimizer, step_size=cfg['scheduler']['step_size'], gamma=cfg['scheduler']['gamma'])",
            {"cfg['scheduler']['step_size']": 15, "cfg['scheduler']['gamma']": 0.6},
        ),
        ('StepLR(optimizer, step_size=cfg["step"])', {"cfg['step']": 15}),
        ("StepLR(optimizer, step_size=len(train_loader)*2, gamma=0.9)", {"len(train_loader)": 15}),
        (
            "StepLR(optimizer, max(1, n_epochs // 4), 0.5, last_epoch=last_epoch)",
            {"n_epochs": 60, "last_epoch": -1},
        ),
        ("StepLR(optimizer, STEP, GAMMA)", {"STEP": 33, "GAMMA": 0.25}),
        ("StepLR(optimizer, step_size=round(hparams.num_epochs * 2 / 3))", {"hparams.num_epochs": 50}),
        ("StepLR(optimizer, step_size=self.hparams.get('step', 10))", {"self.hparams.get('step', 10)": 20}),
        """
        scheduler = torch.optim.lr_scheduler.StepLR(
            optimizer,
            step_size=30,  # epochs
            # gamma=0.5,
            gamma=0.1,
        )
        """,
        """torch.optim.lr_scheduler.StepLR(optimizer,
                                                   step_size=20,
                                                   gamma=0.5)""",
        """
                # decays every 15 epochs: see (appendix "B")
                self.scheduler = lr_scheduler.StepLR(self.optimizer, step_size=15, gamma=0.3)  # was 0.1
        """,
        "scheduler = \\\n    StepLR(optimizer, 30, \\\n           gamma=0.2)",
        "\tscheduler = StepLR(\n\t\toptimizer,\n\t\t10,\n\t)",
        "scheduler = StepLR(\r\n    optimizer,\r\n    step_size=10,\r\n)\r\n",
        Spelling("optim.lr_scheduler.StepLR(optimizer, step_size=30*391, gamma=0.1)", steps=23_500),
    ],
    "MultiStepLR": [
        "MultiStepLR(optimizer, [30, 80])",
        "MultiStepLR(optimizer, [30, 80], 0.5)",
        "MultiStepLR(optimizer, [30, 60], 0.2, -1)",
        "MultiStepLR(optimizer, milestones=[30, 80], gamma=0.1)",
        "MultiStepLR(optimizer, gamma=0.2, milestones=(60, 30))",
        "MultiStepLR(milestones=[10], optimizer=optimizer)",
        """
        torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer,
            milestones=[30,60,90],
            gamma=.1,
            last_epoch=-1,
        )
        """,
        "scheduler = optim.lr_scheduler.MultiStepLR(optimizer, [50, 75], .1)",
        "lr_scheduler.MultiStepLR(optimizers[0], milestones = [ 20, 40, ], gamma = 0.1)",
        "MultiStepLR(optimizer, milestones=[10] + [20, 30], gamma=0.5)",
        "MultiStepLR(optimizer, milestones=[30]*2, gamma=0.3)",
        "MultiStepLR(optimizer, milestones=list(range(10, 90, 10)), gamma=0.8)",
        "MultiStepLR(optimizer, milestones=range(10, 90, 10), gamma=0.8)",
        "MultiStepLR(optimizer, range(5), 0.9)",
        "MultiStepLR(optimizer, milestones=[x*10 for x in range(1, 6)], gamma=0.7)",
        "MultiStepLR(optimizer, milestones=[i for i in range(100) if i % 30 == 0], gamma=0.4)",
        "MultiStepLR(optimizer, milestones=[i for i in range(1, 100) if not i % 20], gamma=0.4)",
        "MultiStepLR(optimizer, milestones=[3 * i + 1 for i in [5, 10, 20]], gamma=0.4)",
        "MultiStepLR(optimizer, milestones=tuple([20, 40]), gamma=1 / 2)",
        "MultiStepLR(optimizer, [sum([10, 20]), sum([10, 20, 30])])",
        "MultiStepLR(optimizer, [len([1, 2, 3]) * 10, max([40, 70]), min(90, 80)])",
        "MultiStepLR(optimizer, [20., 4e1])",
        "MultiStepLR(optimizer, milestones=[])",
        "MultiStepLR(optimizer, milestones=[0, 20], gamma=0.5)",
        "MultiStepLR(optimizer, milestones=[50, 75], gamma=0.1, verbose=False)",
        "MultiStepLR(optimizer, [20, 40], gamma=0.1, verbose = True)",
        Spelling("MultiStepLR(optimizer, [20, 40], 0.1, -1, False)", for_torch={", False": ""}),
        Spelling("MultiStepLR([20, 40], gamma=0.3)", for_torch=NO_OPTIMIZER),
        Spelling("lr_scheduler.MultiStepLR(milestones=(20, 40))", for_torch=NO_OPTIMIZER),
        ("MultiStepLR(optimizer, milestones=args.milestones)", {"args.milestones": [30, 60]}),
        (
            "MultiStepLR(optimizer, args.milestones, args.gamma)",
            {"args.milestones": (30, 60), "args.gamma": 0.5},
        ),
        ("MultiStepLR(optimizer, milestones=[int(e*0.5), int(e*0.75)], gamma=0.1)", {"e": 100}),
        ("MultiStepLR(optimizer, [epochs // 2, epochs * 3 // 4])", {"epochs": 80}),
        (
            """
            MultiStepLR(
                optimizer,
                milestones=[int(args.epochs * .5), int(args.epochs * .75)],
                gamma=args.gamma,
            )
            """,
            {"args.epochs": 100, "args.gamma": 0.2},
        ),
        ("MultiStepLR(optimizer, [round(f * epochs) for f in (0.3, 0.6, 0.9)])", {"epochs": 90}),
        ("MultiStepLR(optimizer, [m * n for m in milestones], gamma=0.1)", {"milestones": [2, 5], "n": 13}),
        (
            "MultiStepLR(optimizer, cfg.SOLVER.STEPS, cfg.SOLVER.GAMMA)",
            {"cfg.SOLVER.STEPS": [9, 50], "cfg.SOLVER.GAMMA": 0.1},
        ),
        Spelling(
            "torch.optim.lr_scheduler.MultiStepLR(self.opt, milestones=[30*391, 60*391], gamma=0.1)",
            steps=23_500,
        ),
        Spelling(
            "MultiStepLR(optimizer, [len(loader) * e for e in (20, 40)], 0.2)",
            {"len(loader)": 98},
            steps=4000,
        ),
        """
        self.lr_scheduler = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer,
            milestones=[
                30,   # first drop
                60,   # second drop
                # 90,
            ],
            gamma=0.1
        )
        """,
        (
            """lr_scheduler.MultiStepLR(optimizer,
            milestones=[60, 80,], last_epoch=start_epoch - 1)""",
            {"start_epoch": 0},
        ),
    ],
    "ConstantLR": [
        "ConstantLR(optimizer)",
        "ConstantLR(optimizer, 0.5)",
        "ConstantLR(optimizer, 0.5, 20)",
        "ConstantLR(optimizer, 1/3, 5, -1)",
        "ConstantLR(optimizer, factor=0.1, total_iters=10)",
        "ConstantLR(optimizer, total_iters=4, factor=0.5)",
        "torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1)",
        "self.warmup = optim.lr_scheduler.ConstantLR(self.optimizer, factor=.25, total_iters=2 * 8)",
        "lr_scheduler.ConstantLR(opt, factor=1e-2)",
        "ConstantLR(optimizer, factor=1)",
        "ConstantLR(optimizer, factor=1.0, total_iters=1)",
        "ConstantLR(optimizer, 0.3, total_iters=7., )",
        "ConstantLR(optimizer=self.optim, factor=2 ** -3, total_iters=1_2)",
        "ConstantLR(optimizer, 0.5, 4, verbose=False)",
        "ConstantLR(optimizer, factor=0.5, total_iters=4, last_epoch=-1, verbose=True)",
        Spelling("ConstantLR(optimizer, 0.5, 4, -1, 1)", for_torch={", 1)": ")"}),
        Spelling("ConstantLR()", for_torch={"(": "(optimizer"}),
        Spelling("ConstantLR(0.2, 30)", for_torch=NO_OPTIMIZER),
        Spelling("ConstantLR(factor=0.2)", for_torch=NO_OPTIMIZER),
        (
            "ConstantLR(optimizer, factor=cfg.warmup_factor, total_iters=cfg.warmup_epochs)",
            {"cfg.warmup_factor": 0.1, "cfg.warmup_epochs": 6},
        ),
        ("ConstantLR(optimizer, args.factor, len(loader))", {"args.factor": 0.4, "len(loader)": 39}),
        (
            "ConstantLR(optimizer, factor=1 / max(1, world_size), total_iters=int(epochs * 0.1))",
            {"world_size": 8, "epochs": 90},
        ),
        """
        warmup_lr_scheduler = torch.optim.lr_scheduler.ConstantLR(
            optimizer, factor=0.01, total_iters=5  # of 90
        )
        """,
        """ConstantLR(
            optimizer
            , factor=0.75
            , total_iters=33
            )""",
    ],
    "LinearLR": [
        "LinearLR(optimizer)",
        "LinearLR(optimizer, 0.1)",
        "LinearLR(optimizer, 0.1, 1.0, 20)",
        "LinearLR(optimizer, 0.1, 0.5, 20, -1)",
        "LinearLR(optimizer, start_factor=0.5, total_iters=4)",
        "LinearLR(optimizer, start_factor=1.0, end_factor=0.01, total_iters=90)",
        "LinearLR(optimizer, start_factor=1, end_factor=0, total_iters=70)",
        "LinearLR(optimizer, end_factor=.1, start_factor=1., total_iters=50)",
        "torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=1_0)",
        """
        self.warmup_scheduler = torch.optim.lr_scheduler.LinearLR(
            self.optimizer,
            start_factor=1/25,
            total_iters=25,
        )
        """,
        "lr_scheduler.LinearLR(opt, 1/3, 1, 30)",
        "optim.lr_scheduler.LinearLR(opt_G, start_factor=1e-8, end_factor=1.0, total_iters=100)",
        "LinearLR(optimizer, total_iters=30.)",
        "LinearLR(optimizer, 0.1, total_iters=3e1)",
        "LinearLR(total_iters=10, optimizer=optimizer, start_factor=1.e-1)",
        "LinearLR(optimizer, start_factor=0.1, total_iters=20, verbose=True)",
        Spelling("LinearLR(optimizer, 0.1, 1.0, 20, -1, False)", for_torch={", False": ""}),
        Spelling("LinearLR()", for_torch={"(": "(optimizer"}),
        Spelling("LinearLR(0.1, 1.0, 20)", for_torch=NO_OPTIMIZER),
        Spelling("LinearLR(start_factor=0.1)", for_torch=NO_OPTIMIZER),
        (
            """
            LinearLR(
                optimizer,
                start_factor=1.0 / max(warmup_epochs, 1),
                end_factor=1.0,
                total_iters=warmup_epochs,
            )
            """,
            {"warmup_epochs": 8},
        ),
        (
            """
            LinearLR(
                optimizer,
                start_factor=1.0,
                end_factor=0.5,
                total_iters=args.epochs * len(train_dl),
            )
            """,
            {"args.epochs": 3, "len(train_dl)": 27},
        ),
        (
            "LinearLR(optimizer, total_iters=(EPOCHS - decay_start_epoch))",
            {"EPOCHS": 80, "decay_start_epoch": 20},
        ),
        (
            "LinearLR(optimizer, start_factor=1, end_factor=cfg.min_lr / cfg.lr, total_iters=cfg.epochs)",
            {"cfg.min_lr": 1e-5, "cfg.lr": 0.1, "cfg.epochs": 60},
        ),
        (
            "LinearLR(optimizer, start_factor=warmup_factor, total_iters=min(1000, len(data_loader) - 1))",
            {"warmup_factor": 1.0 / 1000, "len(data_loader)": 77},
        ),
        ("LinearLR(optimizer, 1e-6, 1.0, int(0.03 * total_steps))", {"total_steps": 2000}),
        """
            scheduler1 = torch.optim.lr_scheduler.LinearLR(
                optimizer,
                start_factor=0.1,  # lr / 10
                end_factor=1.0,
                total_iters=10,
            )
        """,
        """LinearLR(optimizer, start_factor=1.0,  # "start, stop": (1, .1)
                 end_factor=0.1, total_iters=60)""",
        Spelling("LinearLR(optimizer, 1e-3, 1.0, total_iters=5*391)", steps=2000),
    ],
    "ExponentialLR": [
        "ExponentialLR(optimizer, 0.9)",
        "ExponentialLR(optimizer, gamma=0.9)",
        "ExponentialLR(optimizer, 0.95, -1)",
        "ExponentialLR(optimizer, gamma=.98, last_epoch=-1)",
        "ExponentialLR(gamma=0.99, optimizer=optimizer)",
        "torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=9.e-1)",
        "scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma = 0.96)",
        "self.exp_scheduler = lr_scheduler.ExponentialLR(self.opt_D, 1 - 1e-2)",
        "ExponentialLR(optimizer, gamma=0.1**(1/50))",
        "ExponentialLR(optimizer, 1e-3 ** (1. / 100))",
        "ExponentialLR(optimizer, gamma=1.0)",
        "ExponentialLR(optimizer, gamma=1.1)",
        "ExponentialLR(optimizer, gamma=-(-.9))",
        "ExponentialLR(optimizer, +0.9)",
        "ExponentialLR(optimizer, 0.9, verbose=True)",
        "ExponentialLR(optimizer, gamma=0.9, last_epoch=-1, verbose=self.verbose)",
        Spelling("ExponentialLR(optimizer, 0.9, -1, True)", for_torch={", True": ""}),
        Spelling("ExponentialLR(0.9)", for_torch=NO_OPTIMIZER),
        Spelling("ExponentialLR(gamma=0.9)", for_torch=NO_OPTIMIZER),
        ("ExponentialLR(optimizer, gamma=args.lr_decay)", {"args.lr_decay": 0.97}),
        (
            "ExponentialLR(optimizer, gamma=(lr_end/lr_start)**(1./max_steps))",
            {"lr_end": 1e-4, "lr_start": 0.1, "max_steps": 100},
        ),
        (
            "ExponentialLR(optimizer, gamma=config['lr_decay'], last_epoch=epoch_str-2)",
            {"config['lr_decay']": 0.999, "epoch_str": 1},
        ),
        ("ExponentialLR(optimizer, gamma=0.5 ** (1 / len(train_loader)))", {"len(train_loader)": 20}),
        ("ExponentialLR(optimizer, gamma=hps.train.lr_decay)", {"hps.train.lr_decay": 0.999875}),
        """
        scheduler = torch.optim.lr_scheduler.ExponentialLR(
            optimizer, gamma=0.95
        )  # stepped once per epoch
        """,
        """ExponentialLR(  # decay
            self.optimizer,  # SGD
            0.8,  # gamma
        )""",
    ],
    "PolynomialLR": [
        "PolynomialLR(optimizer)",
        "PolynomialLR(optimizer, 50)",
        "PolynomialLR(optimizer, 50, 0.9)",
        "PolynomialLR(optimizer, 50, 2, -1)",
        "PolynomialLR(optimizer, total_iters=80, power=0.9)",
        "PolynomialLR(optimizer, power=.5, total_iters=60)",
        "torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=1.0, last_epoch=-1)",
        """self.scheduler = torch.optim.lr_scheduler.PolynomialLR(
            self.optimizer,
            total_iters=100,
            power=2.0,
        )""",
        "optim.lr_scheduler.PolynomialLR(opt, 3 * 20, 1 / 2)",
        "lr_scheduler.PolynomialLR(optimizers[0], power=3)",
        "PolynomialLR(optimizer=optimizer, total_iters=40)",
        "PolynomialLR(optimizer, total_iters=40., power=1)",
        "PolynomialLR(optimizer, total_iters=1e2, power=0.9)",
        "PolynomialLR(optimizer, total_iters=50, power=0)",
        "PolynomialLR(optimizer, 50, power=0.9, verbose=False)",
        Spelling("PolynomialLR(optimizer, 50, 0.9, -1, False)", for_torch={", False": ""}),
        Spelling("PolynomialLR()", for_torch={"(": "(optimizer"}),
        Spelling("PolynomialLR(50, 0.9)", for_torch=NO_OPTIMIZER),
        Spelling("PolynomialLR(total_iters=50)", for_torch=NO_OPTIMIZER),
        (
            "PolynomialLR(optimizer, total_iters=args.epochs, power=args.power)",
            {"args.epochs": 70, "args.power": 0.9},
        ),
        (
            "PolynomialLR(optimizer, len(data_loader) * args.epochs, 0.9)",
            {"len(data_loader)": 33, "args.epochs": 3},
        ),
        (
            "PolynomialLR(opt, total_iters=iters_per_epoch * (args.epochs - args.warmup), power=0.9)",
            {"iters_per_epoch": 10, "args.epochs": 9, "args.warmup": 2},
        ),
        (
            "PolynomialLR(optimizer, total_iters=self.hparams['max_epochs'], power=(1 + 1) / 4)",
            {"self.hparams['max_epochs']": 55},
        ),
        """
        main_lr_scheduler = torch.optim.lr_scheduler.PolynomialLR(
            optimizer,
            total_iters=90,
            power=0.9,  # as in DeepLab
        )
        """,
        """PolynomialLR(optimizer,
            total_iters=75)""",
        Spelling("PolynomialLR(optimizer, total_iters=8*1_250, power=0.9)", steps=10_050),
    ],
    "CosineAnnealingLR": [
        "CosineAnnealingLR(optimizer, 50)",
        "CosineAnnealingLR(optimizer, 50, 1e-5)",
        "CosineAnnealingLR(optimizer, 50, 0, -1)",
        "CosineAnnealingLR(optimizer, T_max=100)",
        "CosineAnnealingLR(optimizer, T_max=40, eta_min=1e-5)",
        "CosineAnnealingLR(optimizer, eta_min=0.001, T_max=60, last_epoch=-1)",
        "CosineAnnealingLR(optimizer=optimizer, T_max=200)",
        "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200, eta_min=1e-6)",
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 20)",
        "self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optim, T_max=30, eta_min=0.)",
        "lr_scheduler.CosineAnnealingLR(opt, T_max=1e2)",
        "CosineAnnealingLR(optimizer, 50.)",
        "CosineAnnealingLR(optimizer, T_max = 3*25, eta_min = 0.1*1e-3)",
        "CosineAnnealingLR(optimizer,T_max=1_00,eta_min=.01)",
        "CosineAnnealingLR(optimizer, T_max=int(90 * 1.1), eta_min=1e-4/1000)",
        "CosineAnnealingLR(optimizer, T_max=25, verbose=True)",
        "CosineAnnealingLR(optimizer, 25, eta_min=0, last_epoch=-1, verbose=0)",
        Spelling("CosineAnnealingLR(optimizer, 25, 0, -1, True)", for_torch={", True": ""}),
        Spelling(
            "CosineAnnealingLR(optimizer, 25, verbose=not args.quiet)",
            for_torch={", verbose=not args.quiet": ""},
        ),
        Spelling(
            "CosineAnnealingLR(optimizer, 25, verbose=(rank == 0))", for_torch={", verbose=(rank == 0)": ""}
        ),
        Spelling("CosineAnnealingLR(50)", for_torch=NO_OPTIMIZER),
        Spelling("CosineAnnealingLR(T_max=50, eta_min=1e-4)", for_torch=NO_OPTIMIZER),
        Spelling("CosineAnnealingLR(50, 1e-4)", for_torch=NO_OPTIMIZER),
        ("CosineAnnealingLR(optimizer, T_max=args.epochs)", {"args.epochs": 90}),
        (
            "CosineAnnealingLR(optimizer, T_max=args.epochs, eta_min=args.lr * 1e-3)",
            {"args.epochs": 90, "args.lr": 0.1},
        ),
        (
            "CosineAnnealingLR(optimizer, args.epochs - args.warmup_epochs, args.min_lr)",
            {"args.epochs": 90, "args.warmup_epochs": 5, "args.min_lr": 1e-6},
        ),
        (
            "CosineAnnealingLR(optimizer, T_max=len(train_loader)*epochs)",
            {"len(train_loader)": 12, "epochs": 8},
        ),
        (
            "CosineAnnealingLR(optimizer, len(train_loader) * cfg.epochs // accum, eta_min=1e-7)",
            {"len(train_loader)": 100, "cfg.epochs": 3, "accum": 4},
        ),
        (
            "CosineAnnealingLR(optimizer, T_max=max(total_steps - warmup_steps, 1))",
            {"total_steps": 100, "warmup_steps": 10},
        ),
        ("CosineAnnealingLR(optimizer, float(epochs), eta_min=lr/100)", {"epochs": 50, "lr": 0.1}),
        ("CosineAnnealingLR(optimizer, T_max=self.trainer.max_epochs)", {"self.trainer.max_epochs": 45}),
        (
            "CosineAnnealingLR(optimizer, T_max=epochs, eta_min=0.0, last_epoch=args.start_epoch - 1)",
            {"epochs": 40, "args.start_epoch": 0},
        ),
        (
            "CosineAnnealingLR(optimizer, T_max=params['T_max'], eta_min=params[\"eta_min\"])",
            {"params['T_max']": 35, "params['eta_min']": 1e-3},
        ),
        (
            "CosineAnnealingLR(optimizer, T_max=len(dataset) // batch_size * num_epochs)",
            {"len(dataset)": 1000, "batch_size": 64, "num_epochs": 6},
        ),
        (
            "CosineAnnealingLR(optimizer, T_max=round(len(x_train) / bs + 0.5))",
            {"len(x_train)": 1000, "bs": 16},
        ),
        """
        lr_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer,
            T_max=80,  # number of epochs
            eta_min=1e-5,  # (lr / 10_000)
        )
        """,
        """
    # cosine, no restarts
    scheduler = CosineAnnealingLR(optimizer,

                                  T_max=20)
        """,
        Spelling("CosineAnnealingLR(optimizer, T_max=15*391, eta_min=1e-6)", steps=6000),
    ],
    "CosineAnnealingWarmRestarts": [
        "CosineAnnealingWarmRestarts(optimizer, 10)",
        "CosineAnnealingWarmRestarts(optimizer, 10, 2)",
        "CosineAnnealingWarmRestarts(optimizer, 10, 2, 1e-5)",
        "CosineAnnealingWarmRestarts(optimizer, 10, 1, 0.001, -1)",
        "CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2, eta_min=1e-6, last_epoch=-1)",
        "CosineAnnealingWarmRestarts(optimizer, eta_min=0.01, T_mult=3, T_0=4)",
        "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=30, T_mult=1)",
        "scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(self.optimizer, T_0=5)",
        "self.sched = lr_scheduler.CosineAnnealingWarmRestarts(opt,T_0=1_0,T_mult=2,eta_min=1.e-4)",
        "lr_sched.CosineAnnealingWarmRestarts(optimizer, T_0 = 2 * 7, eta_min = 1e-3 * 0.1)",
        "CosineAnnealingWarmRestarts(optimizer, T_0=20, verbose=False)",
        "CosineAnnealingWarmRestarts(optimizer, T_0=20, T_mult=2, verbose=args.verbose)",
        Spelling("CosineAnnealingWarmRestarts(optimizer, 20, 1, 0, -1, False)", for_torch={", False": ""}),
        Spelling(
            "CosineAnnealingWarmRestarts(optimizer, T_0=10., T_mult=2.)", for_torch={"10.": "10", "2.": "2"}
        ),
        Spelling("CosineAnnealingWarmRestarts(optimizer, 1e1, eta_min=1e-4)", for_torch={"1e1": "10"}),
        Spelling("CosineAnnealingWarmRestarts(10, 2)", for_torch=NO_OPTIMIZER),
        Spelling("CosineAnnealingWarmRestarts(T_0=25)", for_torch=NO_OPTIMIZER),
        (
            "CosineAnnealingWarmRestarts(optimizer, T_0=args.T_0, T_mult=args.T_mult)",
            {"args.T_0": 3, "args.T_mult": 2},
        ),
        (
            "CosineAnnealingWarmRestarts(optimizer, T_0=int(epochs / 3), eta_min=lr * 0.01)",
            {"epochs": 90, "lr": 0.1},
        ),
        ("CosineAnnealingWarmRestarts(optimizer, len(train_loader), 2)", {"len(train_loader)": 13}),
        (
            "CosineAnnealingWarmRestarts(optimizer, T_0=5 * len(dl), eta_min=CFG.min_lr)",
            {"len(dl)": 8, "CFG.min_lr": 1e-6},
        ),
        ("CosineAnnealingWarmRestarts(optimizer, T_0=max(1, n_epochs // 4), T_mult=1)", {"n_epochs": 62}),
        """
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            self.optimizer,
            T_0=10,  # first cycle
            T_mult=2,  # each cycle twice as long
            eta_min=1e-5,
        )
        """,
        Spelling("CosineAnnealingWarmRestarts(optimizer, T_0=391, T_mult=2)", steps=3000),
    ],
    "CyclicLR": [
        "CyclicLR(optimizer, 0.01, 0.1, 10)",
        "CyclicLR(optimizer, 0.01, 0.1, 10, 20)",
        "CyclicLR(optimizer, 0.01, 0.1, 10, None, 'triangular2')",
        "CyclicLR(optimizer, 0.01, 0.1, 10, 5, 'exp_range', 0.99)",
        "CyclicLR(optimizer, 0.01, 0.1, 10, 5, 'exp_range', 0.99, None, 'cycle', True, 0.8, 0.9, -1)",
        "CyclicLR(optimizer, base_lr=0.001, max_lr=0.1, step_size_up=5)",
        "CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=5, mode='triangular2')",
        'CyclicLR(optimizer, base_lr=1e-4, max_lr=1e-2, step_size_up=20, mode="exp_range", gamma=0.9994)',
        "CyclicLR(optimizer, max_lr=0.1, base_lr=0.01, step_size_down=30, step_size_up=10)",
        "torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.01, max_lr=0.1)",
        """
        scheduler = torch.optim.lr_scheduler.CyclicLR(
            self.optimizer,
            1e-3,
            6.e-3,
            step_size_up=2*16,
            cycle_momentum=False,
        )
        """,
        """optim.lr_scheduler.CyclicLR(opt, base_lr=.01, max_lr=.5, step_size_up=15, step_size_down=15,
                                       mode='triangular')""",
        """lr_scheduler.CyclicLR(optimizer, base_lr=1e-5, max_lr=0.1, step_size_up=30, scale_fn=None,
                                 scale_mode='iterations')""",
        """
        CyclicLR(
            optimizer,
            0.1 * 0.1,
            0.1,
            step_size_up=15,
            step_size_down=20,
            gamma=1.0,
            scale_fn=None,
            scale_mode='cycle',
        )
        """,
        "CyclicLR(optimizer, 0.01, 0.1, step_size_up=1e1, step_size_down=2e1)",
        "CyclicLR(optimizer, 0.01, 0.1, step_size_up=10, base_momentum=0.85, max_momentum=0.95)",
        "CyclicLR(optimizer, base_lr=0.1, max_lr=0.001, step_size_up=25, step_size_down=None)",
        "CyclicLR(optimizer, 0.01, 0.1, 10, verbose=False)",
        """CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=10, cycle_momentum=False,
                    last_epoch=-1, verbose=True)""",
        Spelling(
            "CyclicLR(opt, 0.01, 0.1, 10, 5, 'triangular', 1.0, None, 'cycle', True, 0.8, 0.9, -1, False)",
            for_torch={", -1, False": ", -1"},
        ),
        Spelling("CyclicLR(0.01, 0.1, 10)", for_torch=NO_OPTIMIZER),
        Spelling("CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=25)", for_torch=NO_OPTIMIZER),
        (
            """
            CyclicLR(
                optimizer,
                base_lr=args.base_lr,
                max_lr=args.max_lr,
                step_size_up=len(loader) // 2,
                mode=args.mode,
            )
            """,
            {"args.base_lr": 0.01, "args.max_lr": 0.3, "len(loader)": 25, "args.mode": "triangular2"},
        ),
        (
            "CyclicLR(optimizer, config.lr, config.lr_max, int(config.epochs/5*2), int(config.epochs/5*3))",
            {"config.lr": 0.02, "config.lr_max": 0.2, "config.epochs": 40},
        ),
        ("CyclicLR(optimizer, lr/2, lr, step_size_up=miles)", {"lr": 0.1, "miles": 12}),
        (
            "CyclicLR(optimizer, base_lr=LR * 1e-2, max_lr=LR, step_size_up=4 * len(dl), cycle_momentum=0)",
            {"LR": 0.1, "len(dl)": 6},
        ),
        *for_each_group("CyclicLR(optimizer, base_lr=[0.01, 0.001], max_lr=[0.1, 0.02], step_size_up=10)"),
        *for_each_group("CyclicLR(optimizer, [0.01, 0.001], (0.1, 0.02), 10, mode='triangular2')"),
        *for_each_group(
            "CyclicLR(optimizer, base_lr=[lr * 0.1] * 2, max_lr=[lr, lr / 2], step_size_up=8)", {"lr": 0.1}
        ),
        Spelling("CyclicLR(optimizer, 0.01, 0.1, 10)", lrs=(0.1, 0.02), group=1),
        "CyclicLR(optimizer, base_lr=[0.01], max_lr=[0.1], step_size_up=10)",
        """
        scheduler = torch.optim.lr_scheduler.CyclicLR(
            optimizer,
            base_lr=1e-3,
            max_lr=1e-2,
            step_size_up=20,  # Number of steps to go from base_lr to max_lr
            mode='triangular',
            cycle_momentum=False
        )
        """,
    ],
    "OneCycleLR": [
        "OneCycleLR(optimizer, 0.1, 100)",
        "OneCycleLR(optimizer, max_lr=0.1, total_steps=100)",
        "OneCycleLR(optimizer, 0.1, None, 10, 10)",
        "OneCycleLR(optimizer, max_lr=0.01, steps_per_epoch=10, epochs=10)",
        "OneCycleLR(optimizer, 0.1, 100, None, None, 0.25, 'linear')",
        "OneCycleLR(optimizer, 0.1, 100, None, None, 0.3, 'cos', True, 0.85, 0.95, 10.0, 100.0, True, -1)",
        """
        OneCycleLR(
            optimizer,
            max_lr=1e-2,
            epochs=5,
            steps_per_epoch=20,
            pct_start=.2,
            anneal_strategy='linear',
        )
        """,
        'torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=1_00, anneal_strategy="cos")',
        "scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizers(), max_lr=1e-3, total_steps=120)",
        "optim.lr_scheduler.OneCycleLR(opt, max_lr=3e-3, total_steps=100, pct_start=0.05)",
        """
        lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=.1,
            total_steps=100,
            div_factor=10.,
            final_div_factor=100.,
        )
        """,
        "OneCycleLR(optimizer, max_lr=0.1, total_steps=100, three_phase=True)",
        "OneCycleLR(opt, total_steps=100, max_lr=1, div_factor=1e2, final_div_factor=1)",
        "OneCycleLR(optimizer, 10 * 0.1, total_steps=10*10, pct_start=1/4)",
        """
        OneCycleLR(
            optimizer,
            max_lr=0.1,
            total_steps=100,
            base_momentum=0.85,
            max_momentum=0.95,
            last_epoch=-1,
        )
        """,
        "OneCycleLR(optimizer, max_lr=0.1, total_steps=100, verbose=False)",
        "OneCycleLR(optimizer, max_lr=0.1, epochs=10, steps_per_epoch=10, verbose=1, pct_start=0.4)",
        Spelling(
            """
            OneCycleLR(
                optimizer,
                0.1,
                100,
                None,
                None,
                0.3,
                'cos',
                True,
                0.85,
                0.95,
                25.0,
                1e4,
                False,
                -1,
                True,
            )
            """,
            for_torch={"-1,\n    True": "-1"},
        ),
        Spelling("OneCycleLR(optimizer, max_lr=0.1, total_steps=1e2)", for_torch={"1e2": "100"}),
        Spelling(
            "OneCycleLR(optimizer, max_lr=0.1, epochs=10., steps_per_epoch=10)", for_torch={"10.": "10"}
        ),
        Spelling(
            "OneCycleLR(optimizer, max_lr=0.1, total_steps=100, pct_start=0)",
            for_torch={"pct_start=0": "pct_start=0.0"},
        ),
        Spelling("OneCycleLR(0.1, 100)", for_torch=NO_OPTIMIZER),
        Spelling("OneCycleLR(max_lr=0.1, total_steps=100)", for_torch=NO_OPTIMIZER),
        Spelling("OneCycleLR(optimizer, max_lr=0.1, total_steps=10)", steps=10),
        Spelling(
            "OneCycleLR(optimizer, max_lr=args.lr, epochs=args.epochs, steps_per_epoch=len(train_loader))",
            {"args.lr": 0.2, "args.epochs": 3, "len(train_loader)": 391},
            steps=3 * 391,
        ),
        (
            "OneCycleLR(opt, max_lr=lr*10, total_steps=epochs * len(loader), pct_start=warmup / epochs)",
            {"lr": 0.1, "epochs": 12, "len(loader)": 11, "warmup": 2},
        ),
        (
            "OneCycleLR(opt, cfg.lr, epochs=cfg.epochs, steps_per_epoch=len(dl) // cfg.accumulate + 1)",
            {"cfg.lr": 0.1, "cfg.epochs": 10, "len(dl)": 45, "cfg.accumulate": 4},
        ),
        (
            """
            OneCycleLR(
                optimizer,
                max_lr=hcfg('lr'),
                total_steps=int(num_steps * 1.05),
                anneal_strategy=anneal,
            )
            """,
            {"hcfg('lr')": 0.05, "num_steps": 100, "anneal": "linear"},
        ),
        (
            "OneCycleLR(opt, self.hparams.learning_rate, self.trainer.estimated_stepping_batches)",
            {"self.hparams.learning_rate": 0.1, "self.trainer.estimated_stepping_batches": 110},
        ),
        (
            """OneCycleLR(optimizer, max_lr=0.1, total_steps=T + 100, pct_start=0.05, cycle_momentum=False,
                          anneal_strategy='linear')""",
            {"T": 20},
        ),
        *for_each_group("OneCycleLR(optimizer, max_lr=[0.1, 0.02], total_steps=100)"),
        *for_each_group(
            "OneCycleLR(optimizer, [lr * 10, lr], epochs=10, steps_per_epoch=10, three_phase=True)",
            {"lr": 0.01},
        ),
        *for_each_group(
            """OneCycleLR(optimizer, max_lr=(0.1, 0.02), total_steps=100, max_momentum=[0.95, 0.9],
                          base_momentum=[0.85, 0.8])"""
        ),
        """
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=0.1,  # peak
            epochs=10, steps_per_epoch=10,  # = total_steps
            pct_start=0.15,
            anneal_strategy="cos",
            div_factor=10.0,
            final_div_factor=1e3,
        )
        """,
    ],
    "SWALR": [
        "SWALR(optimizer, 0.05)",
        "SWALR(optimizer, 0.05, 20)",
        "SWALR(optimizer, 0.05, 20, 'linear')",
        "SWALR(optimizer, 0.05, 20, 'linear', -1)",
        "SWALR(optimizer, swa_lr=0.05)",
        "SWALR(optimizer, swa_lr=1e-4, anneal_epochs=5, anneal_strategy='cos')",
        'swa_scheduler = SWALR(optimizer, anneal_strategy="linear", anneal_epochs=5, swa_lr=0.05)',
        "torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=2 * 10, last_epoch=-1)",
        "self.swa_scheduler = swa_utils.SWALR(self.optimizer, swa_lr=5e-4)",
        "optim.swa_utils.SWALR(opt, .01, anneal_epochs=1_0)",
        "SWALR(optimizer, swa_lr=0.1 * 0.05, anneal_epochs=0)",
        "SWALR(optimizer, swa_lr=0.5, anneal_epochs=50)",
        "SWALR(optimizer, swa_lr=0.05, anneal_epochs=1)",
        Spelling("SWALR(optimizer, swa_lr=0.05, anneal_epochs=10.)", for_torch={"10.": "10"}),
        Spelling("SWALR(0.05, 20)", for_torch=NO_OPTIMIZER),
        Spelling("SWALR(swa_lr=0.05)", for_torch=NO_OPTIMIZER),
        (
            "SWALR(optimizer, swa_lr=args.swa_lr, anneal_epochs=args.swa_epochs)",
            {"args.swa_lr": 0.02, "args.swa_epochs": 30},
        ),
        (
            "SWALR(optimizer, swa_lr=lr / 10, anneal_epochs=int(epochs * 0.25), anneal_strategy=strategy)",
            {"lr": 0.1, "epochs": 90, "strategy": "linear"},
        ),
        (
            "SWALR(self.optimizer, swa_lr=self.config.swa_lr, anneal_epochs=max(1, n // 10))",
            {"self.config.swa_lr": 3e-5, "n": 90},
        ),
        *for_each_group("SWALR(optimizer, swa_lr=[0.05, 0.001])"),
        *for_each_group("torch.optim.swa_utils.SWALR(optimizer, (0.05, 0.2), 20, 'linear')"),
        Spelling("SWALR(optimizer, swa_lr=0.05)", lrs=(0.1, 0.02), group=1),
        "SWALR(optimizer, swa_lr=[0.05], anneal_epochs=10)",
        """
        swa_scheduler = torch.optim.swa_utils.SWALR(
            optimizer, anneal_strategy="cos",
            anneal_epochs=20,  # epochs
            swa_lr=0.005,
        )
        """,
    ],
    "ReduceLROnPlateau": [
        "ReduceLROnPlateau(optimizer)",
        "ReduceLROnPlateau(optimizer, 'min')",
        'ReduceLROnPlateau(optimizer, "max", patience=3)',
        "ReduceLROnPlateau(optimizer, 'min', 0.5, 2)",
        "ReduceLROnPlateau(optimizer, 'min', 0.5, 2, 1e-2, 'abs', 1, 1e-4, 1e-8)",
        "ReduceLROnPlateau(optimizer, mode='min', factor=0.1, patience=5)",
        "ReduceLROnPlateau(optimizer, patience=2, factor=.2, mode='max')",
        "torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5, min_lr=1e-3)",
        """
        self.scheduler = optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer,
            mode='min',
            factor=1/3,
            patience=3,
            eps=1e-3,
        )
        """,
        """scheduler = lr_scheduler.ReduceLROnPlateau(
               opt,
               factor=0.9,
               patience=1,
               threshold=0.05,
               threshold_mode='rel',
           )""",
        "ReduceLROnPlateau(optimizer, patience=2, cooldown=3, min_lr=0.1 ** 4)",
        "ReduceLROnPlateau(optimizer, factor=2 ** -1, patience=0)",
        "ReduceLROnPlateau(optimizer, mode='min', factor=0.2, patience=5, min_lr=1.00E-09)",
        "ReduceLROnPlateau(optimizer, patience=3, verbose=True)",
        "ReduceLROnPlateau(optimizer, 'max', patience=3, verbose=0, factor=0.5)",
        """ReduceLROnPlateau(optimizer, mode='min', factor=0.1, patience=3, threshold=1e-4,
                             threshold_mode='rel',
                             cooldown=0, min_lr=0, eps=1e-08, verbose=False)""",
        Spelling(
            "ReduceLROnPlateau(optimizer, 'min', 0.5, 3, 1e-4, 'rel', 2, 0, 1e-8, True)",
            for_torch={", True": ""},
        ),
        Spelling(
            "ReduceLROnPlateau(optimizer, 'min', 0.5, 3, 0.01, 'abs', 0, 0, 1e-8, args.verbose)",
            for_torch={", args.verbose": ""},
        ),
        Spelling(
            "ReduceLROnPlateau(optimizer, 'min', 0.5, 3, 0.01, 'rel', 0, 0.001, 1e-8, 0)",
            for_torch={"1e-8, 0": "1e-8"},
        ),
        "ReduceLROnPlateau(optimizer, patience=3., cooldown=1e0, factor=5e-1)",
        Spelling("ReduceLROnPlateau()", for_torch={"(": "(optimizer"}),
        Spelling("ReduceLROnPlateau('min', 0.5, 2)", for_torch=NO_OPTIMIZER),
        Spelling("ReduceLROnPlateau(patience=5)", for_torch=NO_OPTIMIZER),
        Spelling(
            "lr_scheduler.ReduceLROnPlateau(mode='max', patience=2, verbose=True)", for_torch=NO_OPTIMIZER
        ),
        (
            "ReduceLROnPlateau(optimizer, mode=args.mode, factor=args.factor, patience=args.patience)",
            {"args.mode": "max", "args.factor": 0.7, "args.patience": 4},
        ),
        (
            """
            ReduceLROnPlateau(
                optimizer,
                'min',
                factor=cfg['factor'],
                patience=cfg['patience'] // 2,
                min_lr=cfg['lr'] * 1e-2,
            )
            """,
            {"cfg['factor']": 0.3, "cfg['patience']": 7, "cfg['lr']": 0.1},
        ),
        ("ReduceLROnPlateau(optimizer, patience=max(2, int(0.1 * epochs)), verbose=0)", {"epochs": 40}),
        (
            "ReduceLROnPlateau(optimizer, factor=hp.f, patience=len(loader) // hp.bs, threshold=1e-4)",
            {"hp.f": 0.5, "len(loader)": 64, "hp.bs": 16},
        ),
        *for_each_group("ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=[0.01, 0.001])"),
        *for_each_group("ReduceLROnPlateau(optimizer, patience=1, min_lr=(1e-3, lr / 10))", {"lr": 0.1}),
        Spelling(
            "ReduceLROnPlateau(optimizer, factor=0.3, patience=2, min_lr=1e-3)", lrs=(0.1, 0.02), group=1
        ),
        "ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=[0.01])",
        """
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode='min', factor=0.5, patience=4  # Reduced patience from 10
        )
        """,
        """
            self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau = (
                torch.optim.lr_scheduler.ReduceLROnPlateau(
                    self.optimizer,
                    "min",  # of the loss
                    patience=3,
                    threshold=0.001,
                    verbose=True,  # says when
                )
            )
        """,
    ],
    "LambdaLR": [
        "LambdaLR(optimizer, lambda epoch: 0.95 ** epoch)",
        "LambdaLR(optimizer, lr_lambda=lambda epoch: 0.95 ** epoch)",
        "LambdaLR(optimizer, lambda e: 0.1 ** (e // 30), -1)",
        "LambdaLR(optimizer, lr_lambda=lambda epoch: 0.65 ** epoch, last_epoch=-1)",
        "LambdaLR(lr_lambda=lambda e: 1 / (1 + 0.01 * e), optimizer=optimizer)",
        "LambdaLR(optimizer, lr_lambda=lambda it: 1)",
        "LambdaLR(optimizer, lambda _: 1.0)",
        "LambdaLR(optimizer, lr_lambda=[lambda epoch: 0.95 ** epoch])",
        "LambdaLR(optimizer, lambda e: 1 - e / 100)",
        "LambdaLR(optimizer, lambda e: (1 - e / 100) ** 0.9)",
        "LambdaLR(optimizer, lambda e: pow(1 - e / 101, 0.9))",
        "LambdaLR(optimizer, lambda e: math.pow(0.5, math.floor((1 + e) / 10.0)))",
        "LambdaLR(optimizer, lr_lambda=lambda epoch: 1.0 - max(0, epoch + 1 - 50) / 51)",
        "LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))",
        "LambdaLR(optimizer, lambda step: min((step + 1) ** -0.5, (step + 1) * 40 ** -1.5))",
        "LambdaLR(optimizer, lambda step: 64 ** (-0.5) * min(max(step, 1) ** (-.5), step * 10 ** (-1.5)))",
        "LambdaLR(optimizer, lambda s: 1.0 if s == 0 else s ** -0.5)",
        "LambdaLR(optimizer, lambda e: 1 if e < 30 else 0.1 if e < 60 else 0.01)",
        "LambdaLR(optimizer, lambda e: 0.1 if 10 <= e < 20 else 1.0)",
        "LambdaLR(optimizer, lambda e: 0.5 if e >= 20 and e != 50 else 1)",
        "LambdaLR(optimizer, lambda e: 0.5 if e < 5 or e > 80 else 1)",
        "LambdaLR(optimizer, lambda e: 1.0 if not e % 3 else 0.5)",
        "LambdaLR(optimizer, lambda e: 0.1 ** ((e >= 30) + (e >= 60)))",
        "LambdaLR(optimizer, lambda e: (e < 10) * 0.1 + (e >= 10) * 1.0)",
        "LambdaLR(optimizer, lambda e: e and 1 / e)",
        "LambdaLR(optimizer, lambda e: 1 / (e or 1))",
        "LambdaLR(optimizer, lambda e: 0.5 ** int(e / 20))",
        "LambdaLR(optimizer, lambda e: round(0.9 ** e, 3))",
        "LambdaLR(optimizer, lambda e: abs(50 - e) / 50)",
        "LambdaLR(optimizer, lambda e: float(e < 50) + 1e-3)",
        "LambdaLR(optimizer, lambda e: math.exp(-0.1 * e))",
        "LambdaLR(optimizer, lambda e: 1 / math.sqrt(e + 1))",
        "LambdaLR(optimizer, lambda e: 1 / (1 + math.log(e + 1)))",
        "LambdaLR(optimizer, lambda e: 0.5 * (1 + np.cos(np.pi * e / 100)))",
        "LambdaLR(optimizer, lambda e: 0.5 * (1 + cos(pi * e / 100)))",
        "LambdaLR(optimizer, lambda e: np.exp(-e / 20.))",
        "LambdaLR(optimizer, lambda e: np.minimum(1.0, (e + 1) / 10))",
        "LambdaLR(optimizer, lambda x: ((1 - math.cos(x * math.pi / 90)) / 2) * (0.1 - 1) + 1)",
        "LambdaLR(optimizer, lambda x: (((1 + math.cos(x * math.pi / 100)) / 2) ** 1.0) * 0.8 + 0.2)",
        "LambdaLR(optimizer, lambda x: (1 - x / (100 - 1)) * (1.0 - 0.1) + 0.1)",
        "LambdaLR(optimizer, lambda e, gamma=0.9: gamma ** e)",
        "LambdaLR(optimizer, lambda e, n=10, g=0.5: g ** (e // n))",
        "LambdaLR(optimizer, lambda e: 10 ** (e / 20))",
        "LambdaLR(optimizer, lambda e: -(-e // 10) * 0.1)",
        "LambdaLR(optimizer, lr_lambda=lambda e: 0.9 ** e, verbose=True)",
        Spelling("LambdaLR(optimizer, lambda e: 0.9 ** e, -1, True)", for_torch={", True": ""}),
        Spelling("LambdaLR(lambda e: 0.9 ** e)", for_torch=NO_OPTIMIZER),
        Spelling("LambdaLR(lr_lambda=lambda e: 0.9 ** e)", for_torch=NO_OPTIMIZER),
        ("LambdaLR(optimizer, lambda epoch: args.gamma ** epoch)", {"args.gamma": 0.97}),
        ("LambdaLR(optimizer, lambda e: (1 - e / args.epochs) ** 0.9)", {"args.epochs": 100}),
        (
            "LambdaLR(optimizer, lambda e: (1 - e / (len(loader) * args.epochs)) ** cfg['power'])",
            {"len(loader)": 30, "args.epochs": 4, "cfg['power']": 2},
        ),
        ("LambdaLR(optimizer, lambda epochs: 0.9 ** epochs)", {"epochs": 90}),
        (
            "LambdaLR(optimizer, lambda x: ((1 - math.cos(x * math.pi / epochs)) / 2) * (lrf - 1) + 1)",
            {"epochs": 100, "lrf": 0.01},
        ),
        ("LambdaLR(optimizer, lambda s: 1 - s / args.num_steps * 0.9)", {"args.num_steps": 120}),
        (
            "LambdaLR(optimizer, lambda e: (0.1 + 0.9 * min(e / warmup, 1.0)) if e < warmup else 1.0)",
            {"warmup": 5},
        ),
        (
            "LambdaLR(optimizer, lambda e: 1.0 - max(0, e + offset - decay) / float(n - decay))",
            {"offset": 0, "decay": 40, "n": 101},
        ),
        (
            "LambdaLR(optimizer, lambda step: step / warmup if step < warmup"
            " else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))))",
            {"warmup": 10, "total": 100},
        ),
        (
            "LambdaLR(opt, lambda t: (t + 1) / warm if t < warm\n"
            "            else 0.5 * (1 + math.cos(math.pi * (t - warm) / max(1, total - warm))))",
            {"warm": 7, "total": 99},
        ),
        (
            "LambdaLR(optimizer, lambda s: float(s) / float(max(1, n_warm)) if s < n_warm"
            " else max(0.0, float(n - s) / float(max(1, n - n_warm))))",
            {"n_warm": 10, "n": 90},
        ),
        (
            """
            LambdaLR(
                optimizer,
                lambda s: max(min_ratio, 0.5 * (1.0 + math.cos(math.pi * min(s, total) / total))),
            )
            """,
            {"min_ratio": 0.1, "total": 80},
        ),
        *for_each_group("LambdaLR(optimizer, lr_lambda=[lambda e: e // 30, lambda e: 0.95 ** e])"),
        *for_each_group("LambdaLR(optimizer, [lambda e: 0.9 ** e, lambda e: min(1, e / n)])", {"n": 10}),
        *for_each_group("LambdaLR(optimizer, [lambda e: 0.9 ** e] * 2)"),
        Spelling("LambdaLR(optimizer, lambda e: 0.9 ** e)", lrs=(0.1, 0.02), group=1),
        """
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lr_lambda=lambda epoch: (
                (epoch + 1) / 5  # warm-up
                if epoch < 5
                else 0.5 ** ((epoch - 5) // 20)  # then steps
            ),
        )
        """,
        """torch.optim.lr_scheduler.LambdaLR(self.optimizer,
            lr_lambda = lambda iter:
                (1 - iter / 101) ** 0.9)""",
    ],
    "MultiplicativeLR": [
        "MultiplicativeLR(optimizer, lambda epoch: 0.95)",
        "MultiplicativeLR(optimizer, lr_lambda=lambda epoch: 0.95)",
        "MultiplicativeLR(optimizer, lr_lambda= lambda epoch : 0.9, last_epoch=-1)",
        "MultiplicativeLR(optimizer, lambda _: .99, -1)",
        "MultiplicativeLR(lr_lambda=lambda e: 1 - 1e-2, optimizer=optimizer)",
        "MultiplicativeLR(optimizer, lambda e: 1)",
        "MultiplicativeLR(optimizer, lambda step: 0.1 ** (1 / 100))",
        "MultiplicativeLR(optimizer, [lambda e: 0.9])",
        "torch.optim.lr_scheduler.MultiplicativeLR(self.optimizer, lr_lambda=lambda e: 0.98)",
        "optim.lr_scheduler.MultiplicativeLR(opt, lambda e: math.exp(-0.01))",
        "scheduler = lr_scheduler.MultiplicativeLR(optimizer, lr_lambda=lambda e, g=0.97: g)",
        "MultiplicativeLR(optimizer, lambda e: 0.95, verbose=False)",
        Spelling("MultiplicativeLR(optimizer, lambda e: 0.95, -1, True)", for_torch={", True": ""}),
        Spelling("MultiplicativeLR(lambda e: 0.95)", for_torch=NO_OPTIMIZER),
        ("MultiplicativeLR(optimizer, lr_lambda=lambda epoch: args.gamma)", {"args.gamma": 0.93}),
        (
            "MultiplicativeLR(optimizer, lambda epoch: cfg['lr_decay'] ** (1 / len(loader)))",
            {"cfg['lr_decay']": 0.5, "len(loader)": 10},
        ),
        *for_each_group("MultiplicativeLR(optimizer, [lambda e: 0.95, lambda e: 0.9])"),
        *[
            Spelling(text, names, num_steps=100)
            for text, names in [
                ("MultiplicativeLR(optimizer, lambda epoch: 0.5 if epoch >= 4 else 1)", NO_NAMES),
                ("MultiplicativeLR(optimizer, lr_lambda=lambda e: 0.95 if e % 10 == 0 else 1)", NO_NAMES),
                ("MultiplicativeLR(optimizer, lambda e: 1 - 1 / (e + 1))", NO_NAMES),
                ("MultiplicativeLR(optimizer, lambda e: 1 + 1 / e)", NO_NAMES),  # epoch 0 is not asked for
                ("MultiplicativeLR(optimizer, lambda e: 0.1 if e == 30 or e == 60 else 1.0)", NO_NAMES),
                (
                    "MultiplicativeLR(optimizer, lr_lambda=lambda e: max(0.9, 1 - e * 1e-3), verbose=True)",
                    NO_NAMES,
                ),
                ("MultiplicativeLR(optimizer, lambda e: math.cos(math.pi * e / 400))", NO_NAMES),
                (
                    "MultiplicativeLR(optimizer, lambda e: 0.95 if e < start else gamma)",
                    {"start": 20, "gamma": 1.0},
                ),
                (
                    "MultiplicativeLR(optimizer, lambda e: args.g if e <= len(loader) else 1)",
                    {"args.g": 0.9, "len(loader)": 25},
                ),
            ]
        ],
        *for_each_group(
            "MultiplicativeLR(optimizer, [lambda e: 0.95, lambda e: 1 if e % 5 else 0.5])", num_steps=100
        ),
        """
        scheduler = torch.optim.lr_scheduler.MultiplicativeLR(
            optimizer, lr_lambda=lambda epoch: 0.97  # each epoch
        )
        """,
    ],
    "SequentialLR": [
        "SequentialLR(optimizer, [LinearLR(optimizer), CosineAnnealingLR(optimizer, 90)], [5])",
        "SequentialLR(opt, schedulers=[ConstantLR(opt, 0.1, 3), ExponentialLR(opt, 0.9)], milestones=[3])",
        """
        SequentialLR(
            optimizer,
            [ConstantLR(optimizer, factor=0.1, total_iters=2), ExponentialLR(optimizer, gamma=0.9)],
            [2],
            -1,
        )
        """,
        """SequentialLR(optimizer=optimizer, milestones=[10],
                        schedulers=[LinearLR(optimizer, 0.1, 1, 10), StepLR(optimizer, 30)],
                        last_epoch=-1)""",
        "SequentialLR(optimizer, (LinearLR(optimizer, 0.1), StepLR(optimizer, 20)), (5,))",
        """SequentialLR(
               optimizer,
               [
                   LinearLR(optimizer, 0.01, total_iters=5),
                   StepLR(optimizer, 30),
                   ExponentialLR(optimizer, 0.9),
               ],
               [5, 65],
           )""",
        "SequentialLR(optimizer, [StepLR(optimizer, 5)], [])",
        """
        SequentialLR(
            opt,
            [LinearLR(opt, 0.1, total_iters=10), CosineAnnealingWarmRestarts(opt, 10, 2)],
            milestones=[10],
        )
        """,
        "SequentialLR(opt, [LinearLR(opt, 1e-3, 1, 10), PolynomialLR(opt, 80, 0.9)], [10])",
        "SequentialLR(opt, [LinearLR(opt, total_iters=4), MultiStepLR(opt, [20, 40], 0.2)], [4])",
        """
        SequentialLR(
            optimizer,
            [LambdaLR(optimizer, lambda e: (e + 1) / 10), CosineAnnealingLR(optimizer, 90)],
            [10],
        )
        """,
        """SequentialLR(
               optimizer,
               [LambdaLR(optimizer, lambda e: min(1, e / 5)), LambdaLR(optimizer, lambda e: 0.9 ** e)],
               [5],
           )""",
        """SequentialLR(
               optimizer,
               [LinearLR(optimizer), ConstantLR(optimizer, 1.0), LinearLR(optimizer, 1, 0.01, 50)],
               [5, 50],
           )""",
        """
        SequentialLR(
            optimizer,
            [ConstantLR(optimizer, 1, 20), CosineAnnealingLR(optimizer, 80, 1e-4)],
            milestones=[20.],
        )
        """,
        """SequentialLR(
               optimizer,
               [
                   LinearLR(optimizer, 0.1),
                   CosineAnnealingLR(optimizer, 20),
                   CosineAnnealingLR(optimizer, 30),
               ],
               [5, 25],
           )""",
        """
        SequentialLR(
            optimizer,
            [CosineAnnealingLR(optimizer, 40), ConstantLR(optimizer, 0.01, 1_000)],
            [40],
        )
        """,
        """
        SequentialLR(
            optimizer,
            [MultiplicativeLR(optimizer, lambda e: 0.9), StepLR(optimizer, 10)],
            [10],
        )
        """,
        """SequentialLR(optim, [LinearLR(optim, 0.2, verbose=True), StepLR(optim, 9, verbose=False)],
                        [5], verbose=True)""",
        Spelling(
            "SequentialLR(optimizer, [LinearLR(optimizer), StepLR(optimizer, 9)], [5], -1, True)",
            for_torch={", True": ""},
        ),
        """torch.optim.lr_scheduler.SequentialLR(
            self.optimizer,
            schedulers=[
                torch.optim.lr_scheduler.LinearLR(self.optimizer, start_factor=1e-6, total_iters=20),
                torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=80),
            ],
            milestones=[20],
        )""",
        """
        scheduler = optim.lr_scheduler.SequentialLR(
            opt,
            [lr_scheduler.LinearLR(opt), sched.StepLR(opt, 9)],
            [2 * 5],
        )
        """,
        Spelling(
            "SequentialLR([LinearLR(0.1), CosineAnnealingLR(90)], [5])",
            for_torch={
                "SequentialLR(": "SequentialLR(optimizer, ",
                "LinearLR(0": "LinearLR(optimizer, 0",
                "gLR(": "gLR(optimizer, ",
            },
        ),
        Spelling(
            "SequentialLR(schedulers=[LinearLR(), StepLR(step_size=9)], milestones=[5])",
            for_torch={
                "lLR(": "lLR(optimizer, ",
                "LinearLR(": "LinearLR(optimizer",
                "StepLR(": "StepLR(optimizer, ",
            },
        ),
        (
            """SequentialLR(
                   optimizer,
                   [LinearLR(optimizer, 0.1, 1, warmup), CosineAnnealingLR(optimizer, epochs - warmup)],
                   [warmup],
               )""",
            {"warmup": 8, "epochs": 98},
        ),
        (
            """SequentialLR(
                   optimizer,
                   [
                       LinearLR(optimizer, 1 / len(dl), 1, args.warmup * len(dl)),
                       CosineAnnealingLR(optimizer, (args.epochs - args.warmup) * len(dl), args.lr * 0.01),
                   ],
                   [args.warmup * len(dl)],
               )""",
            {"len(dl)": 9, "args.warmup": 2, "args.epochs": 11, "args.lr": 0.1},
        ),
        (
            """
            SequentialLR(
                optimizer,
                [LinearLR(optimizer), ConstantLR(optimizer, 1.0, n), ExponentialLR(optimizer, 0.9)],
                milestones=[int(n * p) for p in (0.1, 0.6)],
            )
            """,
            {"n": 80},
        ),
        # A CyclicLR as a later part does not change the base rate of the other parts.
        "SequentialLR(optimizer, [LinearLR(optimizer, 0.1), CyclicLR(optimizer, 0.01, 0.1, 10)], [5])",
        """SequentialLR(
               optimizer,
               [ConstantLR(optimizer, 0.5), CyclicLR(optimizer, 0.01, 0.3, 5, mode='triangular2')],
               [7],
           )""",
        # SWALR and MultiplicativeLR have no closed form: they start from the rate of the part before them.
        *[
            Spelling(text, names, num_steps=100)
            for text, names in [
                (
                    "SequentialLR(o, [ExponentialLR(o, 0.5), MultiplicativeLR(o, lambda e: 0.9)], [3])",
                    NO_NAMES,
                ),
                (
                    """
                    SequentialLR(
                        optimizer,
                        [LinearLR(optimizer), MultiplicativeLR(optimizer, lr_lambda=lambda e: 0.97)],
                        milestones=[5],
                    )
                    """,
                    NO_NAMES,
                ),
                (
                    "SequentialLR(optimizer, [LinearLR(optimizer, 0.1), MultiplicativeLR(optimizer,"
                    " lambda e: 0.5 if e % 10 == 9 else 1)], [n])",
                    {"n": 5},
                ),
                (
                    """SequentialLR(
                           optimizer,
                           [
                               StepLR(optimizer, 3),
                               MultiplicativeLR(optimizer, lambda e: g),
                               CosineAnnealingLR(optimizer, 40),
                           ],
                           [5, 9],
                       )""",
                    {"g": 1.1},
                ),
                (
                    "SequentialLR(opt, [CosineAnnealingLR(opt, 50), SWALR(opt, 0.05)], [40])",
                    NO_NAMES,
                ),
            ]
        ],
        # OneCycleLR sets initial_lr, from which the later parts and the reset of SequentialLR start.
        *[
            Spelling(text, num_steps=steps, steps=steps)
            for text, steps in [
                (
                    """
                    SequentialLR(
                        optimizer,
                        [OneCycleLR(optimizer, 0.1, total_steps=50), StepLR(optimizer, 10)],
                        [50],
                    )
                    """,
                    100,
                ),
                (
                    """
                    SequentialLR(
                        optimizer,
                        [LinearLR(optimizer, 0.1), OneCycleLR(optimizer, max_lr=0.1, total_steps=50)],
                        [5],
                    )
                    """,
                    55,
                ),
                (
                    """SequentialLR(
                           optimizer,
                           [
                               ConstantLR(optimizer, 1.0, 9),
                               OneCycleLR(optimizer, 1, epochs=8, steps_per_epoch=5),
                           ],
                           [9],
                       )""",
                    49,
                ),
            ]
        ],
        *for_each_group(
            """
            SequentialLR(
                optimizer,
                [LinearLR(optimizer), LambdaLR(optimizer, [lambda e: 0.9 ** e, lambda e: 0.8 ** e])],
                [5],
            )
            """
        ),
        """
        scheduler = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            schedulers=[
                torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=5),  # warm up
                torch.optim.lr_scheduler.CosineAnnealingLR(
                    optimizer,
                    T_max=85,
                    eta_min=1e-5,
                ),
            ],
            milestones=[5],
        )
        """,
        """
        return SequentialLR(
            self.optimizer,
            [
                LinearLR(self.optimizer, start_factor=1.0, end_factor=1.0, total_iters=30),
                LinearLR(self.optimizer, start_factor=1.0, end_factor=0.01, total_iters=(100 - 30)),
            ],
            milestones=[30]
        )
        """,
    ],
    "ChainedScheduler": [
        "ChainedScheduler([ConstantLR(optimizer, 0.1, 7), ExponentialLR(optimizer, 0.9)])",
        """ChainedScheduler([ConstantLR(optimizer, factor=0.1, total_iters=2),
                             ExponentialLR(optimizer, gamma=0.9)],
                            optimizer)""",
        "ChainedScheduler(schedulers=[LinearLR(optimizer, 0.1), StepLR(optimizer, 20)])",
        "ChainedScheduler([LinearLR(optimizer, 0.1), StepLR(optimizer, 20)], optimizer=optimizer)",
        "ChainedScheduler(optimizer=opt, schedulers=[LinearLR(opt, 0.1), MultiStepLR(opt, [30, 60])])",
        "ChainedScheduler((StepLR(optimizer, 10, 0.5), StepLR(optimizer, 15, 0.5)))",
        "ChainedScheduler([StepLR(self.optimizer, 10)])",
        """ChainedScheduler(
               [
                   LinearLR(optimizer, start_factor=1/4, total_iters=7),
                   CosineAnnealingLR(optimizer, T_max=100),
               ],
           )""",
        "ChainedScheduler([ConstantLR(optimizer), PolynomialLR(optimizer, 80)])",
        """
        ChainedScheduler(
            [
                PolynomialLR(optimizer, 90, 0.9),
                ExponentialLR(optimizer, 0.99),
                ConstantLR(optimizer, 0.5, 3),
            ],
        )
        """,
        "ChainedScheduler([ExponentialLR(optimizer, 0.9), MultiplicativeLR(optimizer, lambda e: 0.99)])",
        "ChainedScheduler([LinearLR(opt, verbose=True), ExponentialLR(opt, 0.9, verbose=False)])",
        """torch.optim.lr_scheduler.ChainedScheduler(
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=10),
                torch.optim.lr_scheduler.MultiStepLR(
                    optimizer,
                    milestones=[90 // 2, 90 * 3 // 4,], gamma=0.33,),
            ],
        )""",
        """
        self.scheduler = lr_scheduler.ChainedScheduler(
            [optim.lr_scheduler.StepLR(self.optim, 9), ConstantLR(self.optim)],
        )
        """,
        Spelling(
            "ChainedScheduler([LinearLR(0.1), StepLR(20)])",
            for_torch={"LinearLR(": "LinearLR(optimizer, ", "StepLR(": "StepLR(optimizer, "},
        ),
        (
            """ChainedScheduler(
                   [
                       LinearLR(opt, 1e-2, 1, warmup),
                       MultiStepLR(opt, [max_steps // 2, max_steps * 3 // 4], 0.33),
                   ],
               )""",
            {"warmup": 10, "max_steps": 96},
        ),
        (
            "ChainedScheduler([ConstantLR(opt, args.factor), ExponentialLR(opt, args.gamma)], opt)",
            {"args.factor": 0.2, "args.gamma": 0.95},
        ),
        # A part overwrites the rate or shifts it, or has no closed form, so the chain is not a product.
        *[
            Spelling(text, names, num_steps=100)
            for text, names in [
                (
                    """
                    ChainedScheduler(
                        [CosineAnnealingLR(optimizer, 8, 0.01), ExponentialLR(optimizer, 0.9)],
                    )
                    """,
                    NO_NAMES,
                ),
                (
                    """
                    ChainedScheduler(
                        [
                            ExponentialLR(optimizer, 0.9),
                            CosineAnnealingLR(optimizer, T_max=8, eta_min=0.01),
                        ],
                    )
                    """,
                    NO_NAMES,
                ),
                (
                    "ChainedScheduler([ExponentialLR(optimizer, 0.99), CosineAnnealingLR(optimizer, 30)])",
                    NO_NAMES,
                ),
                (
                    "ChainedScheduler([LambdaLR(opt, lambda e: 1 / (1 + e)), ExponentialLR(opt, 0.5)])",
                    NO_NAMES,
                ),
                (
                    """
                    ChainedScheduler(
                        [ExponentialLR(optimizer, 0.5), LambdaLR(optimizer, lambda e: g ** e)],
                        optimizer,
                    )
                    """,
                    {"g": 0.9},
                ),
                (
                    """ChainedScheduler(
                           [
                               LambdaLR(optimizer, lambda s: max(s / max(n, 1), 1e-6) if s < n else 1.0),
                               CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2, eta_min=1e-5),
                           ],
                       )""",
                    {"n": 5},
                ),
                ("ChainedScheduler([CyclicLR(optimizer, 0.01, 0.1, 10), StepLR(optimizer, 25)])", NO_NAMES),
                (
                    """ChainedScheduler(
                           [
                               SequentialLR(opt, [LinearLR(opt), ConstantLR(opt, 1.0)], [5]),
                               ExponentialLR(opt, 0.99),
                           ],
                       )""",
                    NO_NAMES,
                ),
                (
                    """
                 ChainedScheduler(
                     [ChainedScheduler([StepLR(optimizer, 10, 0.5)]), ExponentialLR(optimizer, 0.99)],
                 )
                 """,
                    NO_NAMES,
                ),
                (
                    "ChainedScheduler([MultiplicativeLR(o, lambda e: 1 if e % 10 else 0.5), LinearLR(o)])",
                    NO_NAMES,
                ),
                (
                    """ChainedScheduler(
                           [
                               ConstantLR(optimizer, 0.1, 2),
                               ExponentialLR(optimizer, 0.9),
                               StepLR(optimizer, 30),
                               MultiplicativeLR(optimizer, lambda e: 0.95),
                               LinearLR(optimizer, 0.5, total_iters=4),
                               CosineAnnealingWarmRestarts(optimizer, T_0=30, T_mult=1),
                           ],
                       )""",
                    NO_NAMES,
                ),
            ]
        ],
        """
        scheduler = torch.optim.lr_scheduler.ChainedScheduler(
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=10),  # first
                torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.98),
            ]
        )
        """,
    ],
    "parts assigned first": [
        "warmup = LinearLR(optimizer, 0.1)\nmain = CosineAnnealingLR(optimizer, 95)\n"
        "scheduler = SequentialLR(optimizer, [warmup, main], [5])",
        "s1 = ConstantLR(optimizer, 0.1, 2); s2 = ExponentialLR(optimizer, 0.9)\n"
        "s = SequentialLR(optimizer, schedulers=[s1, s2], milestones=[2])",
        "scheduler1 = ConstantLR(optimizer, factor=0.1, total_iters=20)\n"
        "scheduler2 = ExponentialLR(optimizer, gamma=0.9)\n"
        "scheduler = ChainedScheduler([scheduler1, scheduler2], optimizer=optimizer)",
        """
        scheduler_warmup = LinearLR(
            optimizer, start_factor=1e-6, end_factor=1.0, total_iters=10
        )

        # then down
        scheduler_cosine = CosineAnnealingLR(optimizer, T_max=100 - 10, eta_min=1e-5)
        lr_scheduler = SequentialLR(
            optimizer, schedulers=[scheduler_warmup, scheduler_cosine], milestones=[10]
        )
        """,
        """
        self.warmup = torch.optim.lr_scheduler.LinearLR(self.opt, 0.1, total_iters=5)
        self.main = torch.optim.lr_scheduler.StepLR(self.opt, 30)
        self.scheduler = torch.optim.lr_scheduler.SequentialLR(self.opt, [self.warmup, self.main], [5])
        """,
        """
        s1 = LinearLR(optimizer, start_factor=0.01, total_iters=5)
        s2 = CosineAnnealingLR(optimizer, T_max=90)
        return SequentialLR(optimizer, schedulers=[s1, s2], milestones=[5])
        """,
        """
        warmup: LRScheduler = LinearLR(optimizer, 0.1, total_iters=3, verbose=False)
        hold = ConstantLR(optimizer, 1.0, 10)
        decay = MultiStepLR(optimizer, milestones=[30, 60], gamma=0.2)
        SequentialLR(optimizer, [warmup, hold, decay], milestones=[3, 13])
        """,
        "schedulers = [LinearLR(optimizer), StepLR(optimizer, 20)]\n"
        "SequentialLR(optimizer, schedulers, milestones=[5])",
        "milestones = [30, 60]\nscheduler = MultiStepLR(optimizer, milestones, gamma=0.1)",
        "epochs = 80\nscheduler = CosineAnnealingLR(optimizer, T_max=epochs)",
        "EPOCHS, LR = 80, 0.1\nscheduler = CosineAnnealingLR(optimizer, T_max=EPOCHS, eta_min=LR / 100)",
        "lambda1 = lambda epoch: 0.95 ** epoch\nscheduler = LambdaLR(optimizer, lr_lambda=lambda1)",
        "lmbda = lambda epoch: 0.95\nscheduler = MultiplicativeLR(optimizer, lr_lambda=lmbda)",
        *for_each_group(
            "lambda1 = lambda epoch: epoch // 30\nlambda2 = lambda epoch: 0.95 ** epoch\n"
            "scheduler = LambdaLR(optimizer, lr_lambda=[lambda1, lambda2])"
        ),
        """
        lf = lambda x: ((1 - math.cos(x * math.pi / 100)) / 2) * (0.1 - 1) + 1  # cosine 1->0.1
        scheduler = lr_scheduler.LambdaLR(optimizer, lr_lambda=lf)
        """,
        (
            """
        warmup_steps = int(0.1 * total_steps)
        warmup = LinearLR(optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps)
        cosine = CosineAnnealingLR(optimizer, T_max=total_steps - warmup_steps)
        scheduler = SequentialLR(optimizer, [warmup, cosine], milestones=[warmup_steps])
        """,
            {"total_steps": 100},
        ),
        (
            "w = LinearLR(optimizer, 0.1, total_iters=args.warmup)\n"
            "m = CosineAnnealingLR(optimizer, args.epochs - args.warmup)\n"
            "scheduler = SequentialLR(optimizer, [w, m], milestones=[args.warmup], last_epoch=last)",
            {"args.warmup": 6, "args.epochs": 96, "last": -1},
        ),
    ],
}


def _spelling(entry: Any) -> Spelling:
    match entry:
        case Spelling():
            return entry
        case str():
            return Spelling(entry)
        case (text, names):
            return Spelling(text, names)
    raise TypeError(f"not an entry of the table: {entry!r}")


SPELLINGS = {name: [_spelling(entry) for entry in entries] for name, entries in _TABLE.items()}
SPELLINGS["any optimizer"] = [Spelling(f"StepLR({optimizer}, step_size=10)") for optimizer in OPTIMIZERS]

RARER = [
    _spelling(entry)
    for entry in [
        "StepLR(optimizer, step_size=30);",
        "scheduler = self.scheduler = StepLR(optimizer, 30)",
        "from torch.optim.lr_scheduler import StepLR\nscheduler = StepLR(optimizer, 30)",
        "import torch.optim as optim\nscheduler = optim.lr_scheduler.StepLR(optimizer, 30)",
        "def decay(epoch):\n    return 0.95 ** epoch\nscheduler = LambdaLR(optimizer, decay)",
        "step, gamma = 20, 0.5\nStepLR(optimizer, step, gamma)",
        "step = 10\nstep *= 2\nStepLR(optimizer, step)",
        "step = 10\nstep = step * 2\nStepLR(optimizer, step)",
        "StepLR(optimizer, *[10, 0.5])",
        "StepLR(optimizer, *(10, 0.5))",
        "StepLR(optimizer, **{'step_size': 10})",
        "StepLR(optimizer, **dict(step_size=10, gamma=0.5))",
        "getattr(lr_scheduler, 'StepLR')(optimizer, 10)",
        "(StepLR)(optimizer, 10)",
        "(StepLR(optimizer, 10))",
        "[StepLR(optimizer, 10)][0]",
        "StepLR(optimizer, 0x1e)",
        "StepLR(optimizer, 0b1110)",
        "StepLR(optimizer, 1 << 4)",
        "StepLR(optimizer, ~-31)",
        "StepLR(optimizer, True)",
        "StepLR(optimizer, True * 30)",
        "StepLR(optimizer, 7 // 2 ** 2 * 9)",
        "StepLR(optimizer, -7 // 2 % 9)",
        "StepLR(optimizer, -2 ** 2 + 9)",
        "StepLR(optimizer, 2 ** 3 ** 1)",
        "StepLR(optimizer, 10 if 3 > 2 else 20)",
        "StepLR(optimizer, 0 or 12)",
        "StepLR(optimizer, [10, 20][1])",
        "StepLR(optimizer, [10, 20][-1:][0])",
        "StepLR(optimizer, {'step': 12}['step'])",
        "StepLR(optimizer, dict(step=12)['step'])",
        "StepLR(optimizer, divmod(90, 8)[0])",
        "StepLR(optimizer, int('12'))",
        "StepLR(optimizer, int(1e1))",
        "StepLR(optimizer, round(12.5))",  # to even
        "StepLR(optimizer, round(13.5))",
        "StepLR(optimizer, int(-7 / 2) + 12)",  # towards zero
        "StepLR(optimizer, abs(-12))",
        "StepLR(optimizer, math.ceil(100 / 7))",
        "StepLR(optimizer, (lambda: 12)())",
        "StepLR(optimizer, len(range(3, 30, 2)))",
        "StepLR(optimizer, len('twelve') * 2)",
        "StepLR(optimizer, 12, gamma=float('0.5'))",
        "StepLR(optimizer, 12, gamma=round(2 / 3, 1))",
        "StepLR(optimizer, 12, gamma=pow(0.5, 2))",
        "ExponentialLR(optimizer, gamma=math.exp(-0.05))",
        "ExponentialLR(optimizer, gamma=1e-2 ** .01)",
        "MultiStepLR(optimizer, [*range(10, 50, 10)])",
        "MultiStepLR(optimizer, tuple(i * 10 for i in range(1, 4)))",
        "MultiStepLR(optimizer, {30, 60})",
        "MultiStepLR(optimizer, sorted([60, 30]))",
        "MultiStepLR(optimizer, [10, 20] + 2 * [30])",
        "MultiStepLR(optimizer, [10 * (i + j) for i in range(1, 4) for j in range(2)], 0.8)",
        "MultiStepLR(optimizer, [x for x in [y * 10 for y in range(1, 5)]], 0.8)",
        "MultiStepLR(optimizer, [x for x in range(10, 90) if x % 20 == 0 if x > 20], 0.8)",
        "MultiStepLR(optimizer, [int(x) for x in '25 50'.split()])",
        "MultiStepLR(optimizer, list(map(int, [25., 50.])))",
        "MultiStepLR(optimizer, np.arange(10, 90, 10), 0.8)",
        "MultiStepLR(optimizer, np.linspace(10, 50, 3).tolist())",
        ("MultiStepLR(optimizer, [m[0] for m in stages])", {"stages": [[10, 1], [20, 2]]}),
        ("StepLR(optimizer, step_size=30 if args.long else 10)", {"args.long": True}),
        ("StepLR(optimizer, step_size=args.step or 30)", {"args.step": 0}),
        ("StepLR(optimizer, step_size=int(args.step))", {"args.step": "12"}),
        (
            "StepLR(optimizer, cfg['step'], gamma=cfg.get('gamma', 0.5))",
            {"cfg['step']": 12, "cfg.get('gamma', 0.5)": 0.3},
        ),
        "ReduceLROnPlateau(optimizer, 'm' 'in', patience=2)",
        "ReduceLROnPlateau(optimizer, 'm' + 'ax', patience=2)",
        "CyclicLR(optimizer, 0.01, 0.1, 10, scale_fn=lambda x: 1 / (2. ** (x - 1)), scale_mode='cycle')",
        "CyclicLR(optimizer, 0.01, 0.1, 10, scale_fn=lambda x: 0.99 ** x, scale_mode='iterations')",
        "CyclicLR(optimizer, 0.01, 0.1, 10, None, 'exp_range', 0.9, lambda x: 0.5, 'iterations')",
        "LambdaLR(optimizer, lambda e: 0.1 ** sum(e >= m for m in [30, 60]))",
        "LambdaLR(optimizer, lambda e: 0.1 ** len([m for m in [30, 60] if m <= e]))",
        "LambdaLR(optimizer, lambda e: [1.0, 0.5, 0.1][min(e // 20, 2)])",
        "LambdaLR(optimizer, lambda e: 0.1 if e in [30, 60] else 1)",
        "LambdaLR(optimizer, lambda e: 0.1 if e in range(30, 60) else 1)",
        "LambdaLR(optimizer, lambda e: 1 if e is None else 0.5)",
        "LambdaLR(optimizer, lambda e: math.fmod(e, 7) / 7)",
        "LambdaLR(optimizer, lambda e: -7 // (e + 1) % 5)",
        "LambdaLR(optimizer, lambda e: divmod(e, 30)[1])",
        "LambdaLR(optimizer, lambda e: round(e / 2))",  # to even
        "LambdaLR(optimizer, lambda e: int(5 - e / 2) + 50)",  # towards zero
        "LambdaLR(optimizer, lambda e: (e > 5) + True)",
        "LambdaLR(optimizer, lambda e: 1 - (not e))",
        "LambdaLR(optimizer, lambda e: min([1, e / 10]))",
        "LambdaLR(optimizer, lambda e: max(0.1, *[1 - e / 50, 0.2]))",
        "LambdaLR(optimizer, lambda e, *, g=0.9: g ** e)",
        "LambdaLR(optimizer, lambda e, /: 0.9 ** e)",
        "LambdaLR(optimizer, lambda e, *rest: 0.9 ** e)",
        "LambdaLR(optimizer, lambda e: (lambda x: 0.9 ** x)(e))",
        "LambdaLR(optimizer, lambda e: 1 if 3 < e < 9 != 7 else 2)",
        "LambdaLR(optimizer, lambda e: e % 2 == 0 == False)",
        "LambdaLR(optimizer, lambda e: 2 ** -e)",
        "LambdaLR(optimizer, lambda e: e ** 0)",
        "LambdaLR(optimizer, lambda math: 0.9 ** math)",
        "LambdaLR(optimizer, lambda max: 0.9 ** max)",
        ("LambdaLR(optimizer, lambda e, n=n: 1 / (1 + e / n))", {"n": 10}),
        ("LambdaLR(optimizer, lambda e, n=2 * n: 1 / (1 + e / n))", {"n": 10}),
        ("LambdaLR(optimizer, lambda e: 1.0 if e < 5 else ws[-1])", {"ws": [0.5, 0.1]}),
        Spelling("MultiplicativeLR(optimizer, lambda x: 0.1 if x in [30, 60] else 1)", num_steps=100),
        "f = lambda e: 0.9 ** e\ng = lambda e: f(e) / 2\nLambdaLR(optimizer, g)",
        # A name changes after a part was built with it, or before a lambda that uses it is called.
        "n = 10\nn = 20\nStepLR(optimizer, n)",
        "n = 10\na = StepLR(optimizer, n, 0.5)\nn = 25\nChainedScheduler([a, StepLR(optimizer, n, 0.5)])",
        "n = 10\nm = 2 * n\nn = 30\nMultiStepLR(optimizer, [m, n])",
        "g = 0.5\nf = lambda e: g ** e\ng = 0.9\nLambdaLR(optimizer, f)",
        "g = 0.5\nf = lambda e, g=g: g ** e\ng = 0.9\nLambdaLR(optimizer, f)",
        "g = 0.5\nf = lambda e: g\na = MultiplicativeLR(optimizer, f)\ng = 0.9\nChainedScheduler([a])",
        "e = 3\nf = lambda e: 0.9 ** e\nLambdaLR(optimizer, f)",
        "e = 3\nMultiStepLR(optimizer, [e for e in range(10, 30, 5)] + [20 * e])",
        # The parts are built in another order than that of the list, and they share the optimizer.
        *[
            Spelling(text, num_steps=40, steps=40)
            for text in [
                "b = StepLR(opt, 5)\na = OneCycleLR(opt, 0.1, 20)\nSequentialLR(opt, [a, b], [20])",
                "a = OneCycleLR(opt, 0.1, 20)\nb = StepLR(opt, 5)\nSequentialLR(opt, [a, b], [20])",
                "b = OneCycleLR(opt, 0.1, 40)\na = LinearLR(opt)\nSequentialLR(opt, [a, b], [5])",
                "b = CyclicLR(opt, 0.01, 0.3, 5)\na = LinearLR(opt)\nSequentialLR(opt, [a, b], [5])",
                "b = CyclicLR(opt, 0.01, 0.3, 5)\na = StepLR(opt, 3)\nChainedScheduler([a, b])",
                "b = ConstantLR(opt)\na = LambdaLR(opt, lambda e: 0.5 ** e)\nChainedScheduler([a, b])",
                "b = LambdaLR(opt, lambda e: 0.5 ** e)\na = ConstantLR(opt)\nChainedScheduler([a, b])",
                "b = LinearLR(opt)\na = MultiStepLR(opt, [0, 9])\nSequentialLR(opt, [a, b], [9])",
                "c = ConstantLR(opt, 0.5)\nStepLR(opt, 9)\nChainedScheduler([c])",
                "c = ConstantLR(opt, 0.5)\nunused = LinearLR(opt)\nChainedScheduler([c])",
                "unused = CyclicLR(opt, 0.01, 0.3, 5)\nscheduler = ExponentialLR(opt, 0.9)",
                "unused = OneCycleLR(opt, 0.3, 50)\nscheduler = ExponentialLR(opt, 0.9)",
            ]
        ],
        "SequentialLR(optimizer, [LinearLR(optimizer)] + [StepLR(optimizer, 9)], [5])",
        "SequentialLR(optimizer, [*(LinearLR(optimizer), StepLR(optimizer, 9))], [5])",
        "ChainedScheduler([StepLR(optimizer, s, 0.5) for s in (10, 25)])",
    ]
]


class Refusal(NamedTuple):
    """A text that must be refused, and words that the message must contain, in upper or lower case."""

    text: Any
    words: tuple[str, ...] = ()
    names: Mapping[str, Any] = NO_NAMES
    num_steps: int | None = None
    group: int = 0


def _doubled(first: str, then: str, last: str, times: int = 60) -> str:
    """Return statements that each use the one before them twice, so that their size doubles."""
    return "\n".join([first, *(then.format(old=i, new=i + 1) for i in range(times)), last.format(times)])


_MISTAKES: list[Any] = [
    ("", ()),
    ("   \n", ()),
    ("# StepLR(optimizer, 30)", ()),
    ("StepLR", ("StepLR",)),
    ("scheduler = StepLR", ("StepLR",)),
    ("scheduler = None", ()),
    ("return", ()),
    ("None", ()),
    ("'StepLR(optimizer, 30)'", ()),
    ("[StepLR, 30]", ()),
    ("StepLR(optimizer, 30", ("StepLR",)),
    ("StepLR(optimizer, 30))", ("StepLR",)),
    ("StepLR(optimizer, 30) StepLR(optimizer, 30)", ("StepLR",)),
    ("StepLR(optimizer 30)", ("StepLR",)),
    ("StepLR(optimizer, step_size=30, 0.1)", ("StepLR",)),
    ("StepLR(optimizer, step_size: 30)", ("StepLR",)),
    ("scheduler.step()", ("step",)),
    ("epochs = 90", ()),
    ("warmup = LinearLR(optimizer)\nadjust(warmup)", ("adjust",)),
    ("if warm:\n    StepLR(optimizer, 30)", ()),
    ("for n in range(3):\n    s = LinearLR(optimizer, total_iters=n)", ("LinearLR",)),
    ("while True: pass", ()),
    ("import os", ()),
    ("class A: pass", ()),
    ("del optimizer", ()),
    ("raise StepLR(optimizer, 30)", ()),
    ("StepLR(optimizer, 30).step()", ()),
    ("StepLR(optimizer, 30)(optimizer, 30)", ()),
    (None, ("None",)),
    (30, ("30",)),
    (b"StepLR(optimizer, 30)", ()),
    (["StepLR(optimizer, 30)"], ()),
    # classes that do not exist
    ("StpLR(optimizer, 30)", ("StpLR", "StepLR")),
    ("StepLr(optimizer, 30)", ("StepLr", "did you mean StepLR")),
    ("steplr(optimizer, 30)", ("steplr", "did you mean StepLR")),
    ("Step_LR(optimizer, 30)", ("did you mean StepLR",)),
    ("CosineAnnealing(optimizer, 30)", ("did you mean CosineAnnealingLR",)),
    ("CosineAnealingWarmRestarts(optimizer, 30)", ("did you mean CosineAnnealingWarmRestarts",)),
    ("WarmupMultiStepLR(optimizer, [30])", ("did you mean MultiStepLR",)),
    ("ReduceOnPlateau(optimizer)", ("did you mean ReduceLROnPlateau",)),
    ("torch.optim.lr_scheduler.OnecycleLR(optimizer, 0.1, 100)", ("did you mean OneCycleLR",)),
    ("ChainedScheduler([StpLR(optimizer, 30)])", ("did you mean StepLR",)),
    (
        "warm = LinarLR(optimizer)\nSequentialLR(optimizer, [warm, StepLR(optimizer, 3)], [5])",
        ("LinearLR",),
    ),
    ("get_greedy_schedule(optimizer, 100, 1000)", ("get_greedy_schedule",)),
    ("torch.optim.SGD(model.parameters(), lr=0.1)", ("SGD",)),
    ("lr_scheduler.LRScheduler(optimizer)", ("LRScheduler",)),
    ("A" * 15_000 + "(optimizer, 30)", ()),
    # names without a value: the message lists all of them
    ("StepLR(optimizer, step_size=args.step, gamma=args.gamma)", ("args.step", "args.gamma")),
    ("CosineAnnealingLR(optimizer, T_max=len(loader) * epochs)", ("len(loader)", "epochs")),
    ("MultiStepLR(optimizer, [m1, m2], gamma=cfg['gamma'])", ("m1", "m2", "cfg['gamma']")),
    ("MultiStepLR(optimizer, [int(f * epochs) for f in fractions])", ("epochs", "fractions")),
    ("LambdaLR(optimizer, lambda e: g ** (e / n))", ("g", "n")),
    ("LambdaLR(optimizer, lr_lambda=lr_lambda)", ("lr_lambda",)),
    ("LambdaLR(optimizer, lr_lambda=Scheduler(90).step)", ()),
    ("SequentialLR(optimizer, [LinearLR(optimizer, f), StepLR(optimizer, s)], [m])", ("f", "s", "m")),
    ("SequentialLR(optimizer, [warmup, main], milestones=[5])", ("warmup",)),
    ("ChainedScheduler([warmup, decay])", ("warmup",)),
    ("n = 2 * k\nStepLR(optimizer, n, gamma=g)", ("k", "g")),
    ("n = n\nStepLR(optimizer, n)", ("n",)),
    ("StepLR(optimizer, n)\nn = 3", ()),
    ("StepLR(optimizer, 30, last_epoch=last)", ("last",)),
    ("StepLR(optimizer, compute(30))", ("compute(30)",)),
    ("StepLR(optimizer, 30 if long else 10)", ("long",)),
    Refusal("StepLR(optimizer, args.step, args.gamma)", ("args.gamma",), {"args.step": 30}),
    Refusal("StepLR(optimizer, step_size=arg.step)", ("arg.step",), {"args.step": 30}),
    Refusal("CosineAnnealingLR(optimizer, T_max=epochs)", (), {"epochs": "__import__('os')"}),
    Refusal("CosineAnnealingLR(optimizer, T_max=epochs)", (), {"epochs": [90]}),
    Refusal("CosineAnnealingLR(optimizer, T_max=epochs)", (), {"epochs": None}),
    (f"MultiStepLR(optimizer, [{', '.join(f'args.m{i}' for i in range(200))}])", ("args.m0",)),
    (f"StepLR(optimizer, {'a' * 5000})", ()),
    # arguments
    ("StepLR(optimizer)", ("step_size",)),
    ("StepLR()", ("step_size",)),
    ("LambdaLR(optimizer)", ("lr_lambda",)),
    ("OneCycleLR(optimizer, max_lr=0.1)", ("total_steps",)),
    ("OneCycleLR(optimizer, max_lr=0.1, epochs=10)", ("steps_per_epoch",)),
    ("CyclicLR(optimizer, 0.01)", ("max_lr",)),
    ("StepLR(optimizer, step=3)", ("step", "step_size")),
    ("ReduceLROnPlateau(monitor='val_loss', factor=0.1)", ("monitor",)),
    ("CosineAnnealingLR(optimizer, t_max=90)", ("t_max", "T_max")),
    ("StepLR(optimizer, 3, 0.1, -1, True, 5)", ("StepLR",)),
    ("StepLR(optimizer, 3, step_size=4)", ("step_size", "twice")),
    ("StepLR(optimizer, 3, optimizer=optimizer)", ("optimizer",)),
    ("StepLR(optimizer, 3, last_epoch=7)", ("last_epoch", "7")),
    ("SequentialLR(optimizer, [StepLR(optimizer, 3)], [], last_epoch=7)", ("last_epoch", "7")),
    ("StepLR(optimizer, 2.5)", ("step_size", "2.5")),
    ("StepLR(optimizer, 0)", ("step_size", "0")),
    ("StepLR(optimizer, '30')", ("step_size",)),
    ("StepLR(optimizer, None)", ("step_size",)),
    ("StepLR(optimizer, [30])", ("step_size",)),
    ("StepLR(optimizer, 3 / 0)", ("3 / 0",)),
    ("StepLR(optimizer, 30, 1j)", ()),
    ("StepLR(optimizer, ...)", ()),
    ("StepLR(optimizer, StepLR(optimizer, 3))", ()),
    ("StepLR(optimizer, lambda e: 3)", ()),
    ("ExponentialLR(optimizer, gamma=-0.9)", ("gamma",)),
    ("MultiStepLR(optimizer, 30)", ("milestones",)),
    ("MultiStepLR(optimizer, ['30'])", ("milestones",)),
    ("ReduceLROnPlateau(optimizer, mode='auto')", ("mode", "auto")),
    ("ReduceLROnPlateau(optimizer, factor=1.0)", ("factor",)),
    ("CyclicLR(optimizer, 0.01, 0.1, mode='triangle')", ("mode", "triangle")),
    ("OneCycleLR(optimizer, 0.1, 100, pct_start=30)", ("pct_start",)),
    ("SWALR(optimizer, 0.05, anneal_strategy='exp')", ("anneal_strategy",)),
    ("LambdaLR(optimizer, 0.95)", ("lr_lambda",)),
    ("LambdaLR(optimizer, lambda: 0.95)", ()),
    ("LambdaLR(optimizer, lambda a, b: 0.95)", ()),
    ("LambdaLR(optimizer, lambda e: 'x')", ()),
    ("LambdaLR(optimizer, lambda e: e.real)", ()),
    ("LambdaLR(optimizer, lambda e: unknown(e))", ("unknown",)),
    ("LambdaLR(optimizer, lambda e: math.unknown(e))", ("unknown",)),
    ("MultiplicativeLR(optimizer, 0.95)", ("lr_lambda",)),
    ("MultiplicativeLR(optimizer, lambda e: 0.95 if e % 10 else 1)", ("num_steps",)),
    # groups
    Refusal("CyclicLR(optimizer, [0.01, 0.1], [0.1, 1.0])", ("group",), group=2),
    Refusal("LambdaLR(optimizer, [lambda e: 1, lambda e: 0.5])", ("group",), group=5),
    Refusal("ReduceLROnPlateau(optimizer, min_lr=[0.01, 0.1])", ("group",), group=2),
    Refusal("SWALR(optimizer, [])", (), group=0),
    # composites
    ("SequentialLR(optimizer)", ("schedulers",)),
    ("SequentialLR(optimizer, [], [])", ("scheduler",)),
    ("SequentialLR(optimizer, [LinearLR(optimizer), StepLR(optimizer, 3)])", ("milestones",)),
    ("SequentialLR(optimizer, [LinearLR(optimizer), StepLR(optimizer, 3)], [])", ("milestones",)),
    ("SequentialLR(optimizer, [LinearLR(optimizer), StepLR(optimizer, 3)], [5, 9])", ("milestones",)),
    ("SequentialLR(optimizer, [LinearLR(optimizer), StepLR(optimizer, 3)], 5)", ("milestones",)),
    ("SequentialLR(optimizer, [LinearLR(optimizer), 3], [5])", ()),
    ("SequentialLR(optimizer, LinearLR(optimizer), [5])", ("schedulers",)),
    (
        "SequentialLR(optimizer, [LinearLR(optimizer), ReduceLROnPlateau(optimizer)], [5])",
        ("ReduceLROnPlateau",),
    ),
    (
        "SequentialLR(optimizer, [ReduceLROnPlateau(optimizer), LinearLR(optimizer)], [5])",
        ("ReduceLROnPlateau",),
    ),
    ("ChainedScheduler([LinearLR(optimizer), ReduceLROnPlateau(optimizer)])", ("ReduceLROnPlateau",)),
    ("ChainedScheduler([])", ("scheduler",)),
    ("ChainedScheduler()", ("schedulers",)),
    ("ChainedScheduler([LambdaLR(optimizer, lambda e: 0.9 ** e), StepLR(optimizer, 3)])", ("num_steps",)),
    (
        "ChainedScheduler([CosineAnnealingLR(optimizer, 9, eta_min=0.01), StepLR(optimizer, 3)])",
        ("num_steps",),
    ),
    (
        "SequentialLR(o, [LinearLR(o), MultiplicativeLR(o, lambda e: 0.9 if e % 5 else 1)], [5])",
        ("num_steps",),
    ),
    # Torch raises NotImplementedError at the milestone.
    *[
        Refusal(
            f"SequentialLR(optimizer, [LinearLR(optimizer), {part}], [5])", (name,), num_steps=num_steps
        )
        for part, name in [
            ("SequentialLR(optimizer, [ConstantLR(optimizer), StepLR(optimizer, 9)], [5])", "SequentialLR"),
            ("ChainedScheduler([ConstantLR(optimizer), StepLR(optimizer, 9)])", "ChainedScheduler"),
        ]
        for num_steps in (None, 100)
    ],
]

EXECUTED = "JAXLR_EXECUTED_A_TEXT"  # the environment variable that a text sets if it is executed
_SET = f"__import__('os').environ.setdefault('{EXECUTED}', '1')"

_HOSTILE: list[str] = [
    # texts that do harm if they are executed
    "StepLR(__import__('os').system('x'))",
    f"StepLR({_SET})",
    f"StepLR(optimizer, {_SET})",
    f"StepLR(optimizer, len({_SET}))",
    f'StepLR(optimizer, eval("{_SET}"))',
    f'StepLR(optimizer, exec("{_SET}"))',
    f"MultiStepLR(optimizer, [{_SET} for x in range(3)])",
    f"MultiStepLR(optimizer, [x for x in range(3) if {_SET}])",
    f"LambdaLR(optimizer, lambda e: {_SET})",
    f"LambdaLR(optimizer, lambda e, n={_SET}: n)",
    f"ReduceLROnPlateau(optimizer, mode={_SET})",
    f"x = {_SET}\nStepLR(optimizer, x)",
    f"{_SET}",
    f"(StepLR, {_SET})[0](optimizer, 30)",
    f"StepLR(optimizer, f'{{{_SET}}}')",
    f"@{_SET}\nclass StepLR: pass",
    "StepLR(optimizer, open('/etc/passwd').read())",
    "StepLR(optimizer, globals()['x'])",
    "StepLR(optimizer, step_size=input())",
    "StepLR(optimizer, ().__class__.__bases__[0].__subclasses__())",
    "StepLR(optimizer, step_size=optimizer.__class__.__init__.__globals__['x'])",
    "StepLR(optimizer, math.__loader__.load_module('os'))",
    "StepLR(optimizer, '{0.__class__}'.format(3))",
    "StepLR(optimizer, [].append)",
    "__builtins__(optimizer, 30)",
    "LambdaLR(optimizer, lambda e: e.__class__.__mro__[-1].__subclasses__())",
    "LambdaLR(optimizer, lambda e: math.__dict__)",
    "LambdaLR(optimizer, lambda e: np.fromfile('/etc/passwd'))",
    "LambdaLR(optimizer, lambda e: np.load('x.npy', allow_pickle=True))",
    "LambdaLR(optimizer, lambda e: globals())",
    # syntax that no recipe needs
    "StepLR(optimizer, (n := 30))",
    "StepLR(optimizer, f'{30}')",
    "StepLR(optimizer, *args)",
    "StepLR(optimizer, **kwargs)",
    "StepLR(*args, **kwargs)",
    "StepLR(optimizer, await n)",
    "StepLR(optimizer, (yield))",
    "StepLR(optimizer, (yield from n))",
    "LambdaLR(optimizer, lambda e: (yield))",
    "LambdaLR(optimizer, lambda e: (n := e))",
    "LambdaLR(optimizer, lambda e: f'{e}')",
    "LambdaLR(optimizer, lambda *e: 1 / e[0])",
    "MultiStepLR(optimizer, [x async for x in range(3)])",
    # huge numbers
    "StepLR(optimizer, 9**9**9)",
    "StepLR(optimizer, 2**10**6)",
    "StepLR(optimizer, 10**400)",
    "StepLR(optimizer, 1e999)",
    "StepLR(optimizer, -1e999)",
    "StepLR(optimizer, 1e999 - 1e999)",
    "StepLR(optimizer, 9.**9**9)",
    "StepLR(optimizer, 0**-1)",
    "StepLR(optimizer, (-8)**0.5)",
    "StepLR(optimizer, pow(9, 9**9))",
    "StepLR(optimizer, pow(7, 10**9, 10**300))",
    "StepLR(optimizer, 1 << (1 << 40))",
    "StepLR(optimizer, " + "1" * 5000 + ")",
    "StepLR(optimizer, 0x" + "f" * 10_000 + ")",
    "StepLR(optimizer, " + "*".join(["10**60"] * 500) + ")",
    "ExponentialLR(optimizer, 10**400 * 1.0)",
    "ExponentialLR(optimizer, float('nan'))",
    "ExponentialLR(optimizer, float('inf'))",
    "StepLR(optimizer, int(1e999))",
    "StepLR(optimizer, round(1e999))",
    "StepLR(optimizer, int('9' * 10**7))",
    "StepLR(optimizer, math.factorial(10**7))",
    # huge lists
    "MultiStepLR(optimizer, [0]*10**9)",
    "MultiStepLR(optimizer, 10**9*[0])",
    "MultiStepLR(optimizer, ([0]*1000)*1000*1000)",
    "MultiStepLR(optimizer, [[0]*1000]*1000)",
    "MultiStepLR(optimizer, (1,)*10**10)",
    "MultiStepLR(optimizer, range(10**12))",
    "MultiStepLR(optimizer, list(range(10**12)))",
    "MultiStepLR(optimizer, tuple(range(0, 10**18, 7)))",
    "MultiStepLR(optimizer, list(range(10**7)))",
    "MultiStepLR(optimizer, [sum(range(10**10))] * 2 + ['x'])",
    "StepLR(optimizer, max(range(10**10)) - min(range(1, 10**10)) - 10**30)",
    "MultiStepLR(optimizer, [x for x in range(10**12)])",
    "MultiStepLR(optimizer, [x for x in range(10**12) if x < 0])",
    "MultiStepLR(optimizer, [x for a in range(10**4) for b in range(10**4)])",
    "MultiStepLR(optimizer, [0 for a in range(10**4) for b in range(10**4) if a < 0])",
    "MultiStepLR(optimizer, [[0 for b in range(10**4)] for a in range(10**4)])",
    "MultiStepLR(optimizer, " + "[0 for x in " * 12 + "range(9)" + " for y in range(9)]" * 12 + ")",
    "MultiStepLR(optimizer, [[0] * 1000 for x in range(1000)])",
    "MultiStepLR(optimizer, [len([0] * 10**6) for x in range(1000)] + ['x'])",
    "MultiStepLR(optimizer, [" + ", ".join(map(str, range(100_000))) + "])",
    "ReduceLROnPlateau(optimizer, 'a'*10**9)",
    "ReduceLROnPlateau(optimizer, mode='ab'*5000*5000)",
    "StepLR(optimizer, '%1000000000d' % 1)",
    # very long or very deeply nested texts
    "StepLR(" + "(" * 100_000 + "optimizer" + ")" * 100_000 + ", 30)",
    "MultiStepLR(optimizer, " + "[" * 100_000 + "]" * 100_000 + ")",
    "MultiStepLR(optimizer, " + "[" * 150 + "]" * 150 + ")",
    "StepLR(optimizer, " + "(" * 5000,
    "StepLR(optimizer, " + "-" * 15_000 + "1)",
    "StepLR(optimizer, " + "not " * 4000 + "1)",
    "StepLR(optimizer, " + "1 + " * 4000 + "0.5)",
    "StepLR(optimizer, " + "2 ** " * 3000 + "2)",
    "StepLR(optimizer, " + "int(" * 4000 + "30" + ")" * 4000 + ")",
    "StepLR(optimizer, " + "abs(" * 90 + "0.5" + ")" * 90 + ")",
    "StepLR(optimizer, a" + ".b" * 9000 + ")",
    "StepLR(optimizer, a" + "[0]" * 5000 + ")",
    "StepLR(optimizer, a" + "()" * 5000 + ")",
    "StepLR" + "()" * 9000,
    "a" + ".a" * 9000 + "(optimizer, 30)",
    "x = " * 4000 + "30",
    "x = 30\n" * 100_000 + "StepLR(optimizer, x, gamma=-1)",
    "StepLR(optimizer, 30" + " " * 10_000_000 + ")",
    "StepLR(optimizer, 30)  # " + "x" * 10_000_000 + "\n(",
    "ChainedScheduler([" * 2000 + "StepLR(optimizer, 30)" + "])" * 2000,
    "ChainedScheduler([" * 80 + "StpLR(optimizer, 30)" + "])" * 80,
    "LambdaLR(optimizer, lambda e: " + "(" * 5000 + "e" + ")" * 5000 + ")",
    "LambdaLR(optimizer, " + "lambda e: " * 2000 + "e)",
    "LambdaLR(optimizer, lambda e: " + "1 if e else " * 1500 + "'x')",
    "LambdaLR(optimizer, lambda e: " + "-" * 15_000 + "e)",
    "LambdaLR(optimizer, lambda e: " + "e + " * 4000 + "'x')",
    _doubled("a0 = [0, 1]", "a{new} = a{old} + a{old}", "MultiStepLR(optimizer, a{})"),
    _doubled("a0 = 'min'", "a{new} = a{old} + a{old}", "ReduceLROnPlateau(optimizer, a{})"),
    _doubled("a0 = 10", "a{new} = a{old} * a{old}", "StepLR(optimizer, a{})"),
    _doubled("a0 = [0]", "a{new} = [a{old}, a{old}]", "MultiStepLR(optimizer, a{})"),
    _doubled("f0 = lambda e: 'x'", "f{new} = lambda e: f{old}(e) + f{old}(e)", "LambdaLR(optimizer, f{})"),
    _doubled("s0 = StepLR(optimizer, 30, -1)", "s{new} = ChainedScheduler([s{old}, s{old}])", "s{}"),
    # unusual characters
    "StepLR(optimizer, 30\0)",
    "StepLR(optimizer, 30\ud800)",
    "StepLR(optimizer\uff0c 30)",
    "StepLR(optimizer, \u0663\u0660)",
    "StepLR(optimizer, gamma=\u201c0.1\u201d)",
    "StpLR\u0000\u001b[31m(optimizer, 30)",
    "StepLR(optimizer, 'x\\ny\\x1b[31m')",
    "StepLR(optimizer, step_size='" + "\\n" * 300 + "')",
]


def _refusal(entry: Any) -> Refusal:
    return entry if isinstance(entry, Refusal) else Refusal(*entry)


REFUSED_BY_US = [*map(_refusal, _MISTAKES), *map(Refusal, _HOSTILE)]

# Lambdas that may be read, but that take forever if they are evaluated carelessly.
COSTLY = [
    "lambda e: e**e**e**e",
    "lambda e: 9**9**(9+e)",
    "lambda e: 10**(10**e)",
    "lambda e: (e+1)**(10**9)",
    "lambda e: 2**(2**(2**(2**e)))",
    "lambda e: 2.0**(2**(2**(2**e)))",
    "lambda e: (10**4000)**(e+1)",
    "lambda e: -e**(e**(e**e))",
    "lambda e: e**-(10**(e*10))",
    "lambda e: pow(9, 9**(9+e))",
    "lambda e: pow(e + 7, 10**(e*300), 10**300)",
    "lambda e: math.pow(9, 9**(9+e))",
    "lambda e: math.factorial(10**(e + 7))",
    "lambda e: math.comb(10**7 + e, 5*10**6)",
    "lambda e: math.perm(10**6 + e)",
    "lambda e: math.exp(10**e)",
    "lambda e: np.exp(10**e)",
    "lambda e: 1 << (1 << 40 + e)",
    "lambda e: int(1e300)**(e*1000)",
    "lambda e: round(10**(e*1000))",
    "lambda e: round(1.5, -10**(e*1000))",
    "lambda e: e % 10**(10**e)",
    "lambda e: 0 and 9**9**9",
    "lambda e: 1 if e >= 0 else 9**9**(9+e)",
    "lambda e: len([0]*(10**e))",
    "lambda e: len(range(10**e))",
    "lambda e: max(range(10**(e+9)))",
    "lambda e: sum(range(10**(e+9)))",
    "lambda e: sum(x for x in range(10**(e+9)))",
    "lambda e: min([0]*10**10)",
    "lambda e: 'a' * 10**10 == 'b'",
    "lambda e: int('9'*10**7)",
    "lambda e: str(10**(10**e))",
    "lambda e: math.prod(range(1, 10**6))",
    "lambda e: (lambda f: f(f))(lambda f: f(f))",
    "lambda e, a=10**18: " + "*".join(["a"] * 300),
    "lambda e: " + "*".join(["(e + 10**18)"] * 300),
    "lambda e: " + "(" * 60 + "e + 10**18" + ")**2" * 60,
    "lambda e: " + "not " * 80 + "e",
    "lambda e: " + "-" * 90 + "e",
    "lambda e: " + "1 if e > 99 else " * 90 + "0",
    "lambda e: " + "e + " * 900 + "e",
    "lambda e: " + "max(e, " * 90 + "e" + ")" * 90,
    "lambda e: " + "max(e, e, " * 40 + "e" + ")" * 40,
    "lambda e: 1/e",
    "lambda e: math.log(e)",
    "lambda e: math.sqrt(-e - 1)",
    "lambda e: (-e - 1) ** 0.5",
    "lambda e: e % 0",
    "lambda e: math.acos(e + 2)",
    "lambda e: math.inf",
    "lambda e: math.nan * e",
    "lambda e: 10.0 ** 400",
    "lambda e: math.fsum([1e308] * 9)",
]
