"""What a recipe says of the model and of how it learns. Read without TensorFlow.

`LearnConfig` bundles the blocks a search may vary; its fields are the dotted names of `tune.space`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks.core.config import StageConfig
from tasks.models.backbones import BACKBONES, canonical_backbone, closest_backbone

Monitor = Literal["val_loss", "val_accuracy", "val_macro_f1"]
# Keras' activations by name; a typing error must not wait for the first fit to be found.
Activation = Literal[
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh"
]


class HeadConfig(StageConfig):
    """The layers above the backbone."""

    pooling: Literal["avg", "max"] = "avg"
    """Global pooling of the backbone's last feature map."""
    normalize: bool = True
    """Standardise each feature with the mean and variance of the training images."""
    dense: tuple[int, ...] = ()
    """Units of hidden dense layers, in order."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout before the last layer."""
    l2: float = Field(0.0, ge=0)
    """L2 penalty of the dense kernels."""


class ModelConfig(StageConfig):
    """The `model:` block of a recipe."""

    backbone: str = "xception"
    """A `keras.applications` model, in lower case."""
    alpha: float | None = Field(None, gt=0)
    """Width multiplier of the MobileNets; none = 1.0."""
    weights: str = "imagenet"
    """`imagenet`, `none` (random), or the path of a weights file without the top."""
    image_size: int = Field(224, ge=32, le=1024)
    """Side of the square the model reads, in pixels."""
    fit: Literal["squash", "pad", "crop"] = "squash"
    """How an image becomes a square: stretched, padded with black, or its centre cut out."""
    head: HeadConfig = HeadConfig()
    """The layers above the backbone."""

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        name = canonical_backbone(name)
        if name not in BACKBONES:
            raise ValueError(f"no backbone of this name; nearest: {closest_backbone(name)}")
        return name

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        facts = BACKBONES[self.backbone]
        if self.image_size < facts.min_size:
            raise ValueError(
                f"{self.backbone} needs an image_size of at least {facts.min_size}, here it is {self.image_size}"
            )
        if self.alpha is not None and not facts.alphas:
            raise ValueError(f"{self.backbone} has no alpha")
        return self


class AugmentConfig(StageConfig):
    """The `augment:` block of a recipe: random changes, of training images only. 0 = none."""

    horizontal_flip: bool = False
    """Mirror left and right, one time in two."""
    vertical_flip: bool = False
    """Mirror up and down, one time in two."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Largest rotation either way, in degrees."""
    shift: float = Field(0.0, ge=0, le=1)
    """Largest shift either way, as a share of the side."""
    zoom: float = Field(0.0, ge=0, lt=1)
    """Largest zoom in or out, as a share."""
    shear: float = Field(0.0, ge=0, le=1)
    """Largest shear, as a share of the side."""
    brightness: float = Field(0.0, ge=0, le=1)
    """Largest change of brightness, as a share of the full range."""
    contrast: float = Field(0.0, ge=0, le=1)
    """Largest change of contrast, as a share."""
    views: int = Field(4, ge=1, le=64)
    """Augmented views of each training image kept beside the clean one while the backbone is frozen."""

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return any(value for name, value in self.model_dump().items() if name != "views")


class EarlyStopping(StageConfig):
    """Stop when a figure no longer improves, and return to the best epoch."""

    monitor: Monitor = "val_loss"
    """Figure of the validation split."""
    patience: int = Field(5, ge=0)
    """Epochs without improvement."""


class ReduceOnPlateau(StageConfig):
    """Lower the learning rate when a figure no longer improves."""

    monitor: Monitor = "val_loss"
    """Figure of the validation split."""
    factor: float = Field(0.2, gt=0, lt=1)
    """What the rate is multiplied by."""
    patience: int = Field(3, ge=0)
    """Epochs without improvement."""


class FineTune(StageConfig):
    """A second phase with the top of the backbone unfrozen, batch normalisation kept frozen."""

    layers: int = Field(..., ge=1)
    """Backbone layers unfrozen, counted from the output."""
    learning_rate: float = Field(1e-5, gt=0)
    """Learning rate of this phase."""
    epochs: int = Field(5, ge=1)
    """Epochs at the most."""


class TrainConfig(StageConfig):
    """The `train:` block of a recipe."""

    epochs: int = Field(25, ge=1)
    """Epochs at the most."""
    batch_size: int = Field(32, ge=1)
    """Images a step."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Optimiser by its Keras name."""
    learning_rate: float = Field(1e-3, gt=0)
    """Learning rate of the first phase."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """None trains all epochs."""
    reduce_on_plateau: ReduceOnPlateau | None = None
    """None keeps the learning rate."""
    fine_tune: FineTune | None = None
    """None leaves the backbone frozen."""
    seed: int = 1337
    """Seed of initial weights, shuffles, dropout and augmentation."""


class BalanceConfig(StageConfig):
    """The `balance:` block of a recipe."""

    class_weights: bool = True
    """Weigh each class by the inverse of its share of the training images."""


class LearnConfig(StageConfig):
    """Everything that decides what a trial learns."""

    model: ModelConfig = ModelConfig()
    """The model."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training images."""
    balance: BalanceConfig = BalanceConfig()
    """What is done about unequal classes."""
    train: TrainConfig = TrainConfig()
    """Optimiser, epochs, callbacks."""

    def override(self, values: dict[str, Any]) -> LearnConfig:
        """Return a copy with dotted fields replaced, e.g. {"model.head.dropout": 0.3}; validated anew.

        Raises:
            KeyError: a dotted name leads nowhere.
            pydantic.ValidationError: a value does not fit its field.
        """
        tree = self.model_dump()
        for dotted, value in values.items():
            *parents, leaf = dotted.split(".")
            node = tree
            for name in parents:
                node = node[name]
            if leaf not in node:
                raise KeyError(dotted)
            node[leaf] = value
        return LearnConfig.model_validate(tree)
