"""Facts about the backbones of `keras.applications`, and where their weights files lie.

Reads no TensorFlow: a recipe is checked, and a missing weights file named, before anything heavy is
imported. File names, hashes and preprocessing modes are those of Keras 3.15 (a test compares them).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.core.errors import WeightsError

_HOME = "https://storage.googleapis.com/tensorflow/keras-applications/"
_NOTOP = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_CAFFE: Literal["caffe"] = "caffe"


@dataclass(frozen=True)
class Backbone:
    """One architecture of `keras.applications`.

    `weights` and `url` may hold `{alpha}` and `{size}`; `md5` is MD5, or SHA-256 where Keras publishes
    that (64 digits), or empty where Keras publishes none.
    """

    function: str
    module: str
    preprocess: Literal["tf", "caffe", "torch", "included"]
    weights: str
    md5: str = ""
    min_size: int = 32
    default_size: int = 224
    sizes: tuple[int, ...] = ()
    alphas: tuple[float, ...] = ()
    folder: str = ""
    remote: str = ""


def _resnets() -> dict[str, Backbone]:
    hashes = {
        "50": "4d473c1dd8becc155b73f8504c6f6626", "101": "88cf7a10940856eca736dc7b7e228a21",
        "152": "ee4c566cf9a93f14d82f913c2dc6dd0c", "50v2": "fac2f116257151a9d068a22e544a4917",
        "101v2": "c0ed64b8031c3730f411d2eb4eea35b5", "152v2": "ed17cf2e0169df9d443503ef94b23b33",
    }  # fmt: skip
    return {
        f"resnet{key.replace('v', '_v')}": Backbone(
            f"ResNet{key.upper()}", "resnet_v2" if key.endswith("v2") else "resnet",
            "tf" if key.endswith("v2") else _CAFFE, f"resnet{key}{_NOTOP}", md5, folder="resnet/",
        )
        for key, md5 in hashes.items()
    }  # fmt: skip


def _densenets() -> dict[str, Backbone]:
    hashes = {
        "121": "30ee3e1110167f948a6b9946edeeb738", "169": "b8c4d4c20dd625c148057b9ff1c1176b",
        "201": "c13680b51ded0fb44dff2d8f86ac8bb1",
    }  # fmt: skip
    return {
        f"densenet{key}": Backbone(
            f"DenseNet{key}", "densenet", "torch", f"densenet{key}{_NOTOP}", md5, folder="densenet/"
        )
        for key, md5 in hashes.items()
    }


def _efficientnets() -> dict[str, Backbone]:
    first = {
        "B0": ("50bc09e76180e00e4465e1a485ddc09d", 224), "B1": ("74c4e6b3e1f6a1eea24c589628592432", 240),
        "B2": ("111f8e2ac8aa800a7a99e3239f7bfb39", 260), "B3": ("af6d107764bb5b1abb91932881670226", 300),
        "B4": ("ebc24e6d6c33eaebbd558eafbeedf1ba", 380), "B5": ("38879255a25d3c92d5e44e04ae6cec6f", 456),
        "B6": ("9ecce42647a20130c1f39a5d4cb75743", 528), "B7": ("cbcfe4450ddf6f3ad90b1b398090fe4a", 600),
    }  # fmt: skip
    second = {
        "B0": ("893217f2bb855e2983157299931e43ff", 224), "B1": ("0e80663031ca32d657f9caa404b6ec37", 240),
        "B2": ("1dfe2e7a5d45b6632553a8961ea609eb", 260), "B3": ("f6abf7b5849ac99a89b50dd3fd532856", 300),
        "S": ("af0682fb74e8c54910f2d4393339c070", 384), "M": ("1b8dc055df72dde80d614482840fe342", 480),
        "L": ("b0b66b5c863aef5b46e8608fe1711615", 480),
    }  # fmt: skip
    table = {
        f"efficientnet_{key.lower()}": Backbone(
            f"EfficientNet{key}", "efficientnet", "included", f"efficientnet{key.lower()}_notop.h5", md5,
            default_size=size, remote=f"https://storage.googleapis.com/keras-applications/efficientnet{key.lower()}_notop.h5",
        )
        for key, (md5, size) in first.items()
    }  # fmt: skip
    for key, (md5, size) in second.items():
        stem = f"efficientnetv2-{key.lower()}"
        table[f"efficientnet_v2_{key.lower()}"] = Backbone(
            f"EfficientNetV2{key}", "efficientnet_v2", "included", f"{stem}_notop.h5", md5,
            default_size=size, folder="efficientnet_v2/",
        )  # fmt: skip
    return table


def _convnexts() -> dict[str, Backbone]:
    hashes = {
        "Tiny": "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        "Small": "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
        "Base": "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
        "Large": "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
        "XLarge": "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    }
    return {
        f"convnext_{key.lower()}": Backbone(
            f"ConvNeXt{key}", "convnext", "included", f"convnext_{key.lower()}_notop.h5", sha, folder="convnext/"
        )
        for key, sha in hashes.items()
    }


BACKBONES: dict[str, Backbone] = {
    "xception": Backbone(
        "Xception", "xception", "tf", f"xception{_NOTOP}", "b0042744bf5b25fce3cb969f33bebb97",
        min_size=71, default_size=299, folder="xception/",
    ),
    "vgg16": Backbone("VGG16", "vgg16", _CAFFE, f"vgg16{_NOTOP}", "6d6bbae143d832006294945121d1f1fc", folder="vgg16/"),
    "vgg19": Backbone("VGG19", "vgg19", _CAFFE, f"vgg19{_NOTOP}", "253f8cb515780f3b799900260a226db6", folder="vgg19/"),
    "inception_v3": Backbone(
        "InceptionV3", "inception_v3", "tf", f"inception_v3{_NOTOP}", "bcbd6486424b2319ff4ef7d526e38f63",
        min_size=75, default_size=299, folder="inception_v3/",
    ),
    "inception_resnet_v2": Backbone(
        "InceptionResNetV2", "inception_resnet_v2", "tf", f"inception_resnet_v2{_NOTOP}",
        "d19885ff4a710c122648d3b5c3b684e4", min_size=75, default_size=299, folder="inception_resnet_v2/",
    ),
    "mobilenet": Backbone(
        "MobileNet", "mobilenet", "tf", "mobilenet_{alpha}_{size}_tf_no_top.h5",
        sizes=(128, 160, 192, 224), alphas=(0.25, 0.5, 0.75, 1.0), folder="mobilenet/",
    ),
    "mobilenet_v2": Backbone(
        "MobileNetV2", "mobilenet_v2", "tf", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}_no_top.h5",
        sizes=(96, 128, 160, 192, 224), alphas=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4), folder="mobilenet_v2/",
    ),
    "mobilenet_v3_small": Backbone(
        "MobileNetV3Small", "mobilenet_v3", "included", "weights_mobilenet_v3_small_224_{alpha}_float_no_top_v2.h5",
        alphas=(0.75, 1.0), folder="mobilenet_v3/",
    ),
    "mobilenet_v3_large": Backbone(
        "MobileNetV3Large", "mobilenet_v3", "included", "weights_mobilenet_v3_large_224_{alpha}_float_no_top_v2.h5",
        alphas=(0.75, 1.0), folder="mobilenet_v3/",
    ),
    "nasnet_mobile": Backbone(
        "NASNetMobile", "nasnet", "tf", "nasnet_mobile_no_top.h5", "1ed92395b5b598bdda52abe5c0dbfd63",
        remote=f"{_HOME}nasnet/NASNet-mobile-no-top.h5",
    ),
    "nasnet_large": Backbone(
        "NASNetLarge", "nasnet", "tf", "nasnet_large_no_top.h5", "d81d89dc07e6e56530c4e77faddd61b5",
        default_size=331, remote=f"{_HOME}nasnet/NASNet-large-no-top.h5",
    ),
    **_resnets(), **_densenets(), **_efficientnets(), **_convnexts(),
}  # fmt: skip

# How MobileNet's files spell their alpha.
_MOBILENET_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}
# Files whose hash depends on alpha.
_MD5 = {
    "weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5": "ebdb5cc8e0b497cd13a7c275d475c819",
    "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5": "d3e8ec802a04aa4fc771ee12a9a9b836",
    "weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5": "40af19a13ebea4e2ee0c676887f69a2e",
    "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5": "07fb09a5933dd0c8eaafa16978110389",
}


def canonical_backbone(name: str) -> str:
    """Return the table's spelling of `name`: case, `_` and `-` do not count. Unknown names come back unchanged."""
    plain = name.lower().replace("_", "").replace("-", "")
    return next((known for known in BACKBONES if known.replace("_", "") == plain), name)


def closest_backbone(name: str) -> str:
    """Return the known backbone whose name is nearest to `name`."""
    return (difflib.get_close_matches(name.lower(), BACKBONES, n=1, cutoff=0.0) or ["xception"])[0]


def weights_files(name: str, *, alpha: float | None, size: int) -> list[str]:
    """Return the names of the ImageNet files that fit, best first.

    The MobileNets have a file per input size; without their top they fit every size, so the file for
    the exact size comes first and the one for 224 pixels second.
    """
    facts = BACKBONES[name]
    alpha = 1.0 if alpha is None else alpha
    text = _MOBILENET_ALPHAS.get(alpha, str(alpha)) if name == "mobilenet" else str(float(alpha))
    sizes = [size, facts.default_size] if size in facts.sizes else [facts.default_size]
    return list(dict.fromkeys(facts.weights.format(alpha=text, size=side) for side in sizes))


def find_weights(  # noqa: D417 - the three keyword arguments are the recipe's
    name: str, *, alpha: float | None, size: int, weights: str, folders: Iterable[Path]
) -> Path | None:
    """Return the weights file a model needs (None for random weights), found without TensorFlow.

    Args:
        folders: where ImageNet files may lie, searched in order.

    Raises:
        WeightsError: the file is missing, or is not the one Keras publishes.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        return _given(Path(weights))
    facts = BACKBONES[name]
    if facts.alphas and (alpha or 1.0) not in facts.alphas:
        raise WeightsError(f"There are no ImageNet weights for {name} with alpha {alpha}.",
                           hint=f"Use one of {', '.join(map(str, facts.alphas))}, or weights: none.")  # fmt: skip
    files, folders = weights_files(name, alpha=alpha, size=size), list(folders)
    for folder in folders:
        for file in files:
            if (folder / file).is_file():
                return _checked(folder / file, facts)
    target = folders[0] / files[0]
    expected = _MD5.get(files[0], facts.md5)
    url = facts.remote or f"{_HOME}{facts.folder}{files[0]}"
    raise WeightsError(
        f"The ImageNet weights of {name} are missing: {target}",
        received=f"Looked for {' or '.join(files)} in {', '.join(map(str, folders))}; "
        f"{_hash_name(expected)} {expected or 'not published'}.",
        hint=f"Fetch it once: curl --fail --location --create-dirs --output '{target}' '{url}'",
    )


def _hash_name(digest: str) -> str:
    return "sha256" if len(digest) == hashlib.sha256().digest_size * 2 else "md5"


def _given(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(
            f"The weights file {path} is missing.", hint="Set model.weights to imagenet, none, or a file."
        )
    return path


def _checked(path: Path, facts: Backbone) -> Path:
    expected = _MD5.get(path.name, facts.md5)
    if expected:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, _hash_name(expected)).hexdigest()
        if found != expected:
            raise WeightsError(f"{path} is not the file Keras publishes.",
                               received=f"{_hash_name(expected)} {found}, expected {expected}.",
                               hint="Remove it and fetch it again.")  # fmt: skip
    return path
