from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tasks.core.errors import WeightsError
from tasks.models.backbones import find_weights
from tasks.models.build import augmentation, backbone, calibrate, classifier, extractor, head, preprocessing, unfreeze
from tasks.models.config import AugmentConfig, HeadConfig, ModelConfig

SMALL = ModelConfig(backbone="mobilenet_v2", alpha=0.35, weights="none", image_size=32)


@pytest.mark.parametrize(("mode", "module"), [("tf", "xception"), ("caffe", "vgg16"), ("torch", "densenet")])
def test_preprocessing_is_that_of_keras_applications(mode: str, module: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(2, 4, 4, 3)).astype(np.float32)
    values = keras.ops.convert_to_tensor(pixels)
    for layer in preprocessing(mode):
        values = layer(values)
    expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, atol=1e-4)


def test_efficientnet_reads_pixels_as_its_imagenet_build_does() -> None:
    config = ModelConfig(backbone="efficientnet_b0", weights="imagenet", image_size=32)
    body = backbone(config, None, seed=1)
    norm = next(layer for layer in body.layers if isinstance(layer, keras.layers.Normalization))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    norm.load_own_variables({"0": mean.astype(np.float32), "1": (deviation**2).astype(np.float32), "2": np.array(1)})
    pixels = np.random.default_rng(0).integers(0, 256, size=(2, 32, 32, 3)).astype(np.float32)
    front = keras.Model(body.input, norm.output)
    scaling = extractor(config, body).get_layer("to_imagenet_build")
    # Keras: Rescaling(1/255), Normalization, Rescaling(1/sqrt(deviation)), the last only for weights="imagenet".
    expected = (pixels / 255 - mean) / deviation / np.sqrt(deviation)
    np.testing.assert_allclose(front.predict(np.asarray(scaling(pixels)), verbose=0), expected, atol=1e-4)
    random = config.model_copy(update={"weights": "none"})
    assert "to_imagenet_build" not in [layer.name for layer in extractor(random, body).layers]


def test_the_classifier_takes_pixels_and_gives_probabilities(tmp_path: Path) -> None:
    body = backbone(SMALL, None, seed=1)
    top = head(HeadConfig(dense=(16,), l2=0.01), np.random.default_rng(0).normal(size=(9, 1280)).astype(np.float32), 5)
    model = classifier(extractor(SMALL, body), top)
    pixels = np.random.default_rng(1).integers(0, 256, size=(3, 32, 32, 3)).astype(np.float32)
    before = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(before.sum(axis=1), 1, atol=1e-5)
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(
        keras.saving.load_model(tmp_path / "m.keras").predict(pixels, verbose=0), before, atol=1e-6
    )


def test_caffe_preprocessing_survives_saving(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4, 4, 3)), *preprocessing("caffe")])
    model.save(tmp_path / "m.keras")
    pixels = np.full((1, 4, 4, 3), 100, np.float32)
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(pixels, verbose=0), model.predict(pixels, verbose=0))


def test_a_seed_decides_random_weights() -> None:
    first, again, other = (backbone(SMALL, None, seed=seed).get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_calibration_gives_a_random_backbone_features_that_differ() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(32, 32, 32, 3)).astype(np.uint8)
    body = backbone(SMALL, None, seed=1)
    extract = extractor(SMALL, body)
    dull = extract.predict(pixels.astype(np.float32), verbose=0).std(axis=0).mean()
    calibrate(body, pixels, "tf")
    assert extract.predict(pixels.astype(np.float32), verbose=0).std(axis=0).mean() > 100 * dull


def test_weights_of_another_architecture_are_refused(real_data: Path) -> None:
    file = real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    with pytest.raises(WeightsError, match="does not hold weights of mobilenet_v2"):
        backbone(SMALL, file, seed=1)


def test_the_224_pixel_file_serves_another_size(real_data: Path) -> None:
    file = find_weights("mobilenet_v2", alpha=0.35, size=96, weights="imagenet", folders=[real_data / "weights"])
    config = SMALL.model_copy(update={"image_size": 96})
    assert (
        float(
            np.abs(
                backbone(config, file, seed=1).get_weights()[0] - backbone(config, None, seed=1).get_weights()[0]
            ).max()
        )
        > 0
    )


def test_unfreezing_leaves_batch_normalisation_frozen() -> None:
    body = backbone(SMALL, None, seed=1)
    count = unfreeze(body, 10)
    assert 0 < count <= 10
    assert not any(layer.trainable for layer in body.layers if isinstance(layer, keras.layers.BatchNormalization))
    assert not any(layer.trainable for layer in body.layers[:-10])


def test_augmentation_is_seeded_keeps_the_range_and_is_off_when_predicting() -> None:
    config = AugmentConfig(
        horizontal_flip=True, rotation=30, shift=0.2, zoom=0.2, shear=0.2, brightness=0.2, contrast=0.2
    )
    pixels = np.random.default_rng(0).integers(0, 256, size=(2, 16, 16, 3)).astype(np.float32)
    one, same, other = (np.asarray(augmentation(config, seed=seed)(pixels, training=True)) for seed in (1, 1, 99))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 255
    np.testing.assert_array_equal(np.asarray(augmentation(config, seed=1)(pixels, training=False)), pixels)
    assert augmentation(AugmentConfig(), seed=1) is None
    assert not AugmentConfig(views=9).active


def test_a_feature_that_never_varied_does_not_explode() -> None:
    train = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    train[:, 0] = 0
    model = head(HeadConfig(dropout=0), train, 2)
    probe = np.zeros((1, 4), np.float32)
    probe[0, 0] = 1.0
    standard = model.get_layer("standardise")(probe)
    assert float(np.abs(np.asarray(standard)).max()) < 100
