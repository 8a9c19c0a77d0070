from __future__ import annotations

import hashlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tasks.core.errors import WeightsError
from tasks.models.backbones import BACKBONES, canonical_backbone, find_weights, weights_files
from tasks.models.config import ModelConfig


def test_every_backbone_of_keras_is_known() -> None:
    real = {name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))}
    assert {facts.function for facts in BACKBONES.values()} == real


@pytest.mark.parametrize("name", BACKBONES)
def test_names_hashes_and_sizes_are_those_of_keras(name: str) -> None:
    facts = BACKBONES[name]
    source = Path(inspect.getfile(getattr(keras.applications, facts.function))).read_text()
    if facts.module == "resnet_v2":  # Keras keeps the hashes of both generations in one file
        source = Path(inspect.getfile(keras.applications.ResNet50)).read_text()
    if facts.md5:
        assert facts.md5 in source
    stem = re.split(r"[{]|_weights_tf|_notop|_no_top|_small|_large", facts.weights)[0].split("-")[0]
    assert stem.rstrip("_bsml0123456789") in source
    folder = facts.folder.strip("/") or "keras-applications"
    assert folder in source
    modes = {"tf": 'mode="tf"', "caffe": 'mode="caffe"', "torch": 'mode="torch"', "included": "return x"}
    module = Path(inspect.getfile(getattr(keras.applications, facts.function))).read_text()
    assert modes[facts.preprocess] in module


def test_the_mobilenets_have_a_file_a_size_and_fall_back_to_224() -> None:
    assert weights_files("mobilenet", alpha=0.5, size=160) == [
        "mobilenet_5_0_160_tf_no_top.h5",
        "mobilenet_5_0_224_tf_no_top.h5",
    ]
    assert weights_files("mobilenet_v2", alpha=None, size=100) == [
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    ]


@pytest.mark.parametrize("name", ["Xception", "ResNet50V2", "resnet50_v2", "EfficientNet-B0", "InceptionV3"])
def test_the_spellings_of_keras_are_understood(name: str) -> None:
    assert ModelConfig(backbone=name, image_size=224).backbone in BACKBONES
    assert canonical_backbone("nosuchnet") == "nosuchnet"


def test_a_missing_file_is_named_with_its_hash_and_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights("xception", alpha=None, size=256, weights="imagenet", folders=[tmp_path, tmp_path / "b"])
    target = tmp_path / "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert str(target) in caught.value.what
    assert "md5 b0042744bf5b25fce3cb969f33bebb97" in caught.value.received
    assert caught.value.hint.startswith("Fetch it once: curl ")
    assert str(target) in caught.value.hint
    assert caught.value.hint.endswith(f"/xception/{target.name}'")


def test_a_corrupt_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=hashlib.md5(b"half a download").hexdigest()):  # noqa: S324 - Keras' choice
        find_weights("vgg16", alpha=None, size=224, weights="imagenet", folders=[tmp_path])


def test_random_and_given_weights(tmp_path: Path) -> None:
    assert find_weights("vgg16", alpha=None, size=224, weights="none", folders=[tmp_path]) is None
    (tmp_path / "own.h5").write_bytes(b"x")
    given = str(tmp_path / "own.h5")
    assert find_weights("vgg16", alpha=None, size=224, weights=given, folders=[]) == tmp_path / "own.h5"
    with pytest.raises(WeightsError, match="missing"):
        find_weights("vgg16", alpha=None, size=224, weights=str(tmp_path / "no.h5"), folders=[])
    with pytest.raises(WeightsError, match=r"alpha 0\.3"):
        find_weights("mobilenet_v2", alpha=0.3, size=224, weights="imagenet", folders=[tmp_path])


def test_the_preflight_loads_no_tensorflow() -> None:
    code = "import sys, flows.recipe; print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
