"""Builds Keras models from a recipe's `model:` and `augment:` blocks.

Reads a weights file when given one; writes nothing. Every model takes pixels 0-255, RGB, and carries
its own preprocessing, so no caller can forget it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tasks.core.errors import WeightsError
from tasks.models.backbones import BACKBONES
from tasks.models.config import AugmentConfig, HeadConfig, ModelConfig

# Channel means and deviations of ImageNet in RGB, 0-1 (He et al. 2015; used by DenseNet's authors).
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Channel means in BGR, 0-255 (Simonyan and Zisserman 2014), for VGG and ResNet.
_CAFFE_MEAN = (103.939, 116.779, 123.68)

CALIBRATION_BATCH = 16  # images that give a random backbone its statistics at once


@keras.saving.register_keras_serializable(package="harvestman")
class CaffePreprocessing(layers.Layer):
    """RGB pixels 0-255 to zero-centred BGR, as VGG and ResNet were trained."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401 - a Keras tensor of any backend
        """Map (N, S, S, 3) to the same shape."""
        flipped = keras.ops.flip(inputs, axis=-1)
        return flipped - keras.ops.convert_to_tensor(_CAFFE_MEAN, dtype=flipped.dtype)


def preprocessing(mode: str) -> list[Any]:
    """Return the layers that bring pixels 0-255 to what a backbone was trained on."""
    if mode == "tf":
        return [layers.Rescaling(1 / 127.5, offset=-1, name="to_minus_one_to_one")]
    if mode == "caffe":
        return [CaffePreprocessing(name="to_centred_bgr")]
    if mode == "torch":
        scale = [1 / (255 * deviation) for deviation in _TORCH_STD]
        offset = [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_STD, strict=True)]
        return [layers.Rescaling(scale, offset=offset, name="to_imagenet_scale")]
    return []


def _efficientnet_scale(config: ModelConfig, body: Any) -> list[Any]:  # noqa: ANN401 - keras.Model
    """Return what EfficientNet B0-B7 lacks when its ImageNet weights are loaded into an untrained build.

    Keras' own `weights="imagenet"` build divides the normalised pixels by the root of ImageNet's deviations once
    more: c (x/255 - m) / s instead of (x/255 - m) / s. Pixels c x + 255 m (1 - c) have the same effect.
    """
    if config.weights != "imagenet" or BACKBONES[config.backbone].module != "efficientnet":
        return []
    norm = next(layer for layer in body.layers if isinstance(layer, layers.Normalization))
    mean = np.ravel(keras.ops.convert_to_numpy(norm.mean))
    scale = [1 / math.sqrt(deviation) for deviation in _TORCH_STD]
    offset = [float(255 * m * (1 - c)) for m, c in zip(mean, scale, strict=True)]
    return [layers.Rescaling(scale, offset=offset, name="to_imagenet_build")]


def backbone(config: ModelConfig, weights: Path | None, *, seed: int) -> Any:  # noqa: ANN401 - a keras.Model
    """Build the backbone without its top: (N, S, S, 3) preprocessed pixels to a feature map.

    Args:
        config: which one, how wide, for which image size.
        weights: a weights file without the top; None = random weights drawn from `seed`.
        seed: of the random weights.

    Raises:
        WeightsError: the file holds weights of another architecture.
    """
    facts = BACKBONES[config.backbone]
    build = getattr(keras.applications, facts.function)
    extra = {"alpha": config.alpha} if config.alpha is not None else {}
    keras.utils.set_random_seed(seed)
    shape = (config.image_size, config.image_size, 3)
    model = build(include_top=False, weights=None, input_shape=shape, **extra)
    if weights is not None:
        try:
            model.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            raise WeightsError(
                f"{weights} does not hold weights of {config.backbone}.",
                received=str(error).splitlines()[0],
                hint="Give model.weights the file of this backbone (and alpha) without its top.",
            ) from error
    return model


def calibrate(body: Any, pixels: np.ndarray[Any, Any], mode: str) -> None:  # noqa: ANN401 - keras.Model
    """Give a random backbone the batch statistics of real images, so that its features differ at all.

    Untrained batch normalisation passes its input on, and fifty random layers in a row shrink every
    image to the same point. A data-dependent initialisation after Krähenbühl et al. 2016.

    Args:
        body: a backbone with random weights; its batch normalisation layers are changed.
        pixels: some training images, uint8 (n, S, S, 3).
        mode: the backbone's preprocessing.
    """
    norms = [layer for layer in body.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    # A few at a time: a model that is called keeps every layer's output until it returns.
    for count, start in enumerate(range(0, len(pixels), CALIBRATION_BATCH)):
        values: Any = pixels[start : start + CALIBRATION_BATCH].astype(np.float32)
        for layer in preprocessing(mode):
            values = layer(values)
        for layer in norms:
            layer.momentum = count / (count + 1)  # the moving statistics become the mean over the batches
        body(values, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def extractor(config: ModelConfig, body: Any) -> Any:  # noqa: ANN401 - keras.Model
    """Return the model pixels 0-255 (N, S, S, 3) → preprocessing → `body` → pooled features (N, D)."""
    pixels = keras.Input((config.image_size, config.image_size, 3), name="pixels")
    values = pixels
    for layer in [*preprocessing(BACKBONES[config.backbone].preprocess), *_efficientnet_scale(config, body)]:
        values = layer(values)
    # training=False keeps batch normalisation on its stored statistics, fine-tuned or not.
    values = body(values, training=False)
    pool = layers.GlobalAveragePooling2D if config.head.pooling == "avg" else layers.GlobalMaxPooling2D
    return keras.Model(pixels, pool(name="pooled")(values), name="features")


def head(config: HeadConfig, train_features: np.ndarray[Any, Any], classes: int) -> Any:  # noqa: ANN401 - keras.Model
    """Build the layers above the backbone: features (N, D) to softmax probabilities (N, classes).

    Args:
        config: the recipe's `model.head`.
        train_features: clean features of the training images (N, D); their mean and variance are
            what `normalize` uses.
        classes: number of outputs.
    """
    penalty = keras.regularizers.L2(config.l2) if config.l2 else None
    stack: list[Any] = [keras.Input((train_features.shape[1],), name="pooled_features")]
    if config.normalize:
        mean, variance = train_features.mean(axis=0), train_features.var(axis=0)
        # A feature that never varies in training must not explode on the first image where it does.
        floor = max(float(variance.mean()) * 1e-3, 1e-12)
        stack.append(layers.Normalization(mean=mean, variance=np.maximum(variance, floor), name="standardise"))
    for index, units in enumerate(config.dense):
        stack.append(layers.Dense(units, config.activation, kernel_regularizer=penalty, name=f"dense_{index}"))
    if config.dropout:
        stack.append(layers.Dropout(config.dropout, name="dropout"))
    # float32 whatever the precision policy: a softmax in half precision loses small probabilities.
    stack.append(layers.Dense(classes, "softmax", kernel_regularizer=penalty, dtype="float32", name="probabilities"))
    return keras.Sequential(stack, name="head")


def classifier(features: Any, top: Any) -> Any:  # noqa: ANN401 - keras.Model
    """Join extractor and head: pixels 0-255 (N, S, S, 3) to probabilities (N, classes)."""
    return keras.Model(features.input, top(features.output), name="classifier")


def augmentation(config: AugmentConfig, *, seed: int) -> Any | None:  # noqa: ANN401 - keras.Sequential
    """Return the random changes of pixels 0-255 as a model, or None where the recipe wants none."""
    turn = config.rotation / 360
    flips = {(True, True): "horizontal_and_vertical", (True, False): "horizontal", (False, True): "vertical"}
    flip = flips.get((config.horizontal_flip, config.vertical_flip))
    fill = {"fill_mode": "nearest"}
    stack: list[Any] = []
    if flip:
        stack.append(layers.RandomFlip(flip, seed=seed))
    if turn:
        stack.append(layers.RandomRotation(turn, seed=seed + 1, **fill))
    if config.shift:
        stack.append(layers.RandomTranslation(config.shift, config.shift, seed=seed + 2, **fill))
    if config.zoom:
        stack.append(layers.RandomZoom((-config.zoom, config.zoom), seed=seed + 3, **fill))
    if config.shear:
        stack.append(layers.RandomShear(config.shear, config.shear, seed=seed + 4, **fill))
    if config.brightness:
        stack.append(layers.RandomBrightness(config.brightness, value_range=(0, 255), seed=seed + 5))
    if config.contrast:
        stack.append(layers.RandomContrast(config.contrast, value_range=(0, 255), seed=seed + 6))
    return keras.Sequential(stack, name="augmentation") if stack else None


def unfreeze(body: Any, count: int) -> int:  # noqa: ANN401 - keras.Model
    """Make the last `count` layers of `body` trainable, batch normalisation excepted; return how many are.

    Batch statistics of a small data set would undo what the backbone learnt (Keras transfer-learning guide).
    """
    body.trainable = True
    last = len(body.layers) - count
    for index, layer in enumerate(body.layers):
        layer.trainable = index >= last and not isinstance(layer, layers.BatchNormalization)
    return sum(bool(layer.trainable) for layer in body.layers)
