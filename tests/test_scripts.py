"""The tutorial's port does what its original does, and stays as short."""

import runpy
from pathlib import Path

import numpy as np
from helpers import DEVICE_RTOL, assert_close, torch_plateau_curve

from jaxlr.train.data import load_dataset


SCRIPT = Path(__file__).parents[1] / "scripts" / "train_mnist.py"


def test_the_tutorial_runs_and_its_rates_are_those_of_torchs_plateau(torch, monkeypatch, capsys):
    digits = load_dataset("digits")

    def small_mnist(name, progress):
        assert name == "mnist"
        images = [np.kron(images, np.ones((1, 4, 4), np.uint8))[:, 2:-2, 2:-2] for images in digits[:3:2]]
        return digits._replace(train_images=images[0], test_images=images[1])

    monkeypatch.setattr("jaxlr.train.data.load_dataset", small_mnist)
    variables = runpy.run_path(str(SCRIPT))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert [int(words[1]) for words in lines] == list(range(25))
    losses, rates = ([float(words[index]) for words in lines] for index in (7, 9))
    assert losses[-1] < losses[0] / 2
    after = torch_plateau_curve(torch, losses, patience=5)
    assert_close(rates, [0.1, *after[:-1]], DEVICE_RTOL)
    assert variables["params"] is not None


def test_the_tutorial_fits_in_80_lines():
    assert len(SCRIPT.read_text().splitlines()) <= 80
