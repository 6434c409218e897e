"""Autoencoders as scikit-learn's estimators: in pipelines, searches and cross-validation.

    from copyfold.estimators import AutoencoderTransformer
    codes = AutoencoderTransformer(latent_dim=8).fit_transform(X)

Rows of X are images, flattened (channels, then rows, then columns), or any other measurements.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from copyfold import catalogue
from copyfold.corruptions import Gaussian
from copyfold.data.reading.values import ends
from copyfold.errors import UsageError, at_least, within
from copyfold.models.base import Autoencoder, flat, maps
from copyfold.objectives.base import Classical, Objective
from copyfold.training.in_memory import fit_array
from copyfold.training.plan import Plan
from copyfold.types import Shape

__all__ = ["AutoencoderDetector", "AutoencoderTransformer", "DenoisingTransformer"]

Architecture: TypeAlias = str | Autoencoder | Callable[..., Autoencoder]

ROWS = 256  # rows that go through the model at once
SMALLEST = 8  # pixels of a side of images of three channels, where it is guessed that rows are such images
DTYPES = [np.float64, np.float32]


@dataclass(eq=False, repr=False)
class _Estimator(BaseEstimator):
    """What the estimators have in common: a model that is trained to copy rows, and copies them."""

    model: Architecture = "MLP"
    _: KW_ONLY
    options: Mapping[str, Any] | None = None
    latent_dim: int | None = None
    objective: Objective | str | Mapping[str, Any] | None = None
    shape: Shape | tuple[int, int] | None = None
    range: tuple[float, float] | None = None
    epochs: int = 30
    batch: int = 32
    lr: float | None = None
    random_state: int | np.random.RandomState | None = None

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train the model on the rows of X, N x features; `y` is not used."""
        rows: np.ndarray = _validated(self, X)
        at_least(0, epochs=self.epochs)
        at_least(1, batch=self.batch)
        objective = self._objective()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        shape = _shape(self.shape, rows.shape[1])
        self.range_ = _range(self.range, rows)
        self.mean_ = rows.mean(axis=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model_ = _made(self.model, shape, rows.shape[1], self.options or {}, self.latent_dim)
        self.shape_ = self.model_.shape
        self.loss_curve_: list[float] = []
        if self.epochs:
            plan = Plan(epochs=self.epochs, batch=self.batch, lr=self.lr, seed=seed, precision="32")
            images = self._images(rows).to(torch.float32).permute(0, 2, 3, 1).numpy()
            self.loss_curve_ = fit_array(self.model_, objective, images, plan)
        self.model_.eval()
        return self

    def _objective(self) -> Objective:
        """The loss to train with."""
        given = self.objective
        if given is None:
            return self._usual()
        if isinstance(given, str):
            return catalogue.build(Objective, {"class_path": given})
        return given if isinstance(given, Objective) else catalogue.build(Objective, dict(given))

    def _usual(self) -> Objective:
        """The objective where none is given."""
        return Classical()

    # ------------------------------------------------------------ rows and images

    def _checked(self, X: Any) -> np.ndarray:
        """The rows of X, of the number of features that there were in training."""
        check_is_fitted(self)
        return _validated(self, X, reset=False)

    def _images(self, rows: np.ndarray) -> Tensor:
        """Rows as images b x c x h x w, in which `range_` is 0 to 1; a copy."""
        low, high = self.range_
        scaled = (rows - low) / (high - low)
        return torch.from_numpy(np.ascontiguousarray(scaled, dtype=rows.dtype)).reshape(-1, *self.shape_)

    def _rows(self, images: Tensor) -> np.ndarray:
        """Images as rows, in the units that they came in."""
        low, high = self.range_
        return images.flatten(1).numpy() * (high - low) + low

    def _through(self, rows: np.ndarray, function: Callable[[Autoencoder, np.ndarray], np.ndarray]) -> np.ndarray:
        """What a function makes of the model and of some rows at a time, in the precision of the rows.

        The model is a copy in this precision, with running averages: a row's result does not depend on the others.
        """
        model = deepcopy(self.model_).to(torch.float64 if rows.dtype == np.float64 else torch.float32)
        with torch.no_grad(), model.using("running"):
            found = [function(model, rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
        return np.concatenate(found).astype(rows.dtype, copy=False)

    def _copies(self, rows: np.ndarray) -> np.ndarray:
        """D(E(x)) of rows, in their own units."""
        return self._through(
            rows, lambda model, part: self._rows(_decoded(model, model.encode(self._images(part))))
        )


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Estimator):
    """The codes of an autoencoder as features, and back.

    `transform` gives E(x), the mean of a stochastic encoder, all maps of a code as one row; `inverse_transform`
    D(z). `score` is 1 - sum of (x - D(E(x)))^2 / sum of (x - m)^2, where m is the mean training row: 1 is a
    perfect copy, 0 no better than the mean. Of model="Linear" the best codes are those of PCA: compare with it.

    Args:
        model: An architecture by name ("MLP", "Conv", "UNet", any that is known), its class, a function from a
            shape to a model, or a model, which is copied and trained further.
        options: Arguments of the architecture, such as {"hidden": (64,)}.
        latent_dim: Numbers in the code, where the architecture has this argument; its own unless given, but at
            most half of the number of features.
        objective: What is minimised: an objective, its name, or a description as in recipe.yaml; plain copying
            unless given.
        shape: The shape of a row: (channels, height, width), or (height, width). Unless given, that of the model,
            or a square image, grey where the number of features is a square, else of three channels; or else
            1 x 1 x features.
        range: The numbers that the model sees as 0 and 1: the least and the largest in training unless given.
            One scale for all features: where they have units of their own, put a scaler before it.
        epochs: Passes over the rows; 0 takes a model as it is.
        batch: Rows in a step.
        lr: The learning rate: that of the model's usual optimiser unless given.
        random_state: Of the weights, the order of the rows and the noise.

    After `fit`: `model_`, `shape_`, `range_`, `mean_` (the mean row) and `loss_curve_` (nats per row, by epoch).
    """

    def transform(self, X: Any) -> np.ndarray:
        """The codes, N x numbers of a code."""
        rows = self._checked(X)
        return self._through(rows, lambda model, part: flat(model.encode(self._images(part))).numpy())

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The rows that codes are decoded to, in the units of the training rows."""
        check_is_fitted(self)
        codes: np.ndarray = check_array(X, dtype=cast("Any", DTYPES), input_name="X")
        if codes.shape[1] != self._n_features_out:
            raise UsageError(f"X has {codes.shape[1]} features, but the codes have {self._n_features_out}")
        shapes = self.model_.code_shapes()

        def decoded(model: Autoencoder, part: np.ndarray) -> np.ndarray:
            flattened = torch.from_numpy(part.copy()).split([math.prod(shape) for shape in shapes], dim=1)
            return self._rows(
                _decoded(model, tuple(z.unflatten(1, shape) for z, shape in zip(flattened, shapes, strict=True)))
            )

        return self._through(codes, decoded)

    def score(self, X: Any, y: Any = None) -> float:
        """The share of the rows' squared distance from the mean training row that is copied; `y` is not used."""
        rows = self._checked(X)
        left, all_of_it = ((rows - other).astype(np.float64) for other in (self._copies(rows), self.mean_))
        return float(1 - np.square(left).sum() / max(np.square(all_of_it).sum(), np.finfo(np.float64).tiny))

    @property
    def _n_features_out(self) -> int:
        return sum(math.prod(shape) for shape in self.model_.code_shapes())

    def __sklearn_tags__(self) -> Any:
        """Codes have the precision of the rows."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@dataclass(eq=False, repr=False)
class DenoisingTransformer(OneToOneFeatureMixin, TransformerMixin, _Estimator):
    """Rows without noise, by an autoencoder that was trained to remove it.

    Trained on rows with Gaussian noise; `transform` gives D(E(x)), in the units of the rows.

    Args:
        model: As in `AutoencoderTransformer`.
        std: The standard deviation of the noise in training, as a share of `range`; or the least and the largest,
            of which each row's is drawn.
        options: As in `AutoencoderTransformer`.
        latent_dim: Likewise.
        objective: Another than removing this noise, in which case `std` is not used.
        shape: As in `AutoencoderTransformer`.
        range: Likewise.
        epochs: Likewise.
        batch: Likewise.
        lr: Likewise.
        random_state: Likewise.
    """

    _: KW_ONLY
    std: float | tuple[float, float] = 0.2

    def transform(self, X: Any) -> np.ndarray:
        """The rows as the model restores them."""
        rows = self._checked(X)
        return self._copies(rows).astype(rows.dtype, copy=False)

    def _usual(self) -> Objective:
        return Classical(Gaussian(self.std))

    def __sklearn_tags__(self) -> Any:
        """Restored rows have the precision of those given."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@dataclass(eq=False, repr=False)
class AutoencoderDetector(OutlierMixin, _Estimator):
    """Outliers: rows that an autoencoder trained on the others copies badly.

    `score_samples` is minus the mean squared error of a row's copy, in the squared units of the rows: the lower,
    the odder. `decision_function` is that minus `offset_`, below which lies the share `contamination` of the
    training rows; `predict` gives -1 where it is negative, else 1, as scikit-learn's IsolationForest does.
    Training rows are copied a little better than new ones: where the share of false alarms matters, set `offset_`
    by normal rows that were not trained on.

    Args:
        model: As in `AutoencoderTransformer`.
        contamination: The share of the training rows that are outliers, above 0 and at most 0.5.
        options: As in `AutoencoderTransformer`.
        latent_dim: Likewise.
        objective: Likewise.
        shape: Likewise.
        range: Likewise.
        epochs: Likewise.
        batch: Likewise.
        lr: Likewise.
        random_state: Likewise.
    """

    _: KW_ONLY
    contamination: float = 0.1

    def fit(self, X: Any, y: Any = None) -> "AutoencoderDetector":
        """Train the model on the rows of X, and find the offset; `y` is not used."""
        within("(0, 0.5]", contamination=self.contamination)
        super().fit(X, y)
        scores = self._scores(_validated(self, X, reset=False))
        self.offset_ = float(np.percentile(scores, 100 * self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """How normal every row is: minus its mean squared error."""
        return self._scores(self._checked(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` minus `offset_`: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for outliers, 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """The one place that says how normal a row is; the higher, the more."""
        return -np.square(rows - self._copies(rows)).mean(axis=1)


# ---------------------------------------------------------------- what is guessed, and made


def _validated(estimator: Any, X: Any, reset: bool = True) -> np.ndarray:
    """X as an array N x features of finite floats, by scikit-learn's own checks."""
    return cast("np.ndarray", validate_data(estimator, X, dtype=DTYPES, reset=reset))


def _shape(given: Any, features: int) -> Shape | None:
    """The shape of a row. None where none is given: that of the model, or a guess."""
    if given is None:
        return None
    shape = (1, *given) if len(given) == 2 else tuple(given)
    if len(shape) != 3 or math.prod(shape) != features:
        raise UsageError(
            f"shape={given!r} is invalid: expected (channels, height, width) or (height, width) of {features} "
            "numbers, as many as X has features"
        )
    return cast("Shape", tuple(int(side) for side in shape))


def _guessed(features: int) -> Shape:
    """A square image, grey or of three channels, or else one row."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side**2 == features and (channels == 1 or side >= SMALLEST):
            return channels, side, side
    return 1, 1, features


def _range(given: tuple[float, float] | None, X: np.ndarray) -> tuple[float, float]:
    """The numbers that become 0 and 1."""
    if given is not None:
        return ends(given)
    low, high = float(X.min()), float(X.max())
    return low, high if high > low else low + 1


def _made(
    given: Architecture, shape: Shape | None, features: int, options: Mapping[str, Any], latent_dim: int | None
) -> Autoencoder:
    """The model: a copy of the one that is given, or of the architecture, for rows of this many numbers."""
    if isinstance(given, Autoencoder):
        if options or latent_dim is not None:
            raise UsageError("options and latent_dim are of an architecture, and model is a model: leave them out")
        if (shape or given.shape) != given.shape or math.prod(given.shape) != features:
            raise UsageError(
                f"the model is for images of {given.shape}, and X has {features} features"
                + (f" of shape {shape}" if shape else "")
            )
        return deepcopy(given)
    cls: Any = catalogue.find(Autoencoder, given) if isinstance(given, str) else given
    if not callable(cls):
        raise UsageError(
            f"model={given!r} is invalid: expected the name of an architecture, its class, or a model"
        )
    shape, options = shape or _guessed(features), dict(options)
    takes = inspect.signature(cls).parameters
    if "latent_dim" in takes and "latent_dim" not in options:
        default = takes["latent_dim"].default
        most = min(default, max(1, features // 2)) if isinstance(default, int) else max(1, features // 2)
        options["latent_dim"] = most if latent_dim is None else latent_dim
    elif latent_dim is not None:
        raise UsageError(
            f"latent_dim={latent_dim} is invalid: {given} has no such argument, or options has it already"
        )
    wrapped = _made(options.pop("core", "MLP"), shape, features, {}, None) if next(iter(takes)) == "core" else None
    try:
        made = cls(wrapped or shape, **options)
    except TypeError as error:
        raise UsageError(f"options={options} is invalid for {given}: {error}") from None
    if not isinstance(made, Autoencoder) or math.prod(made.shape) != features:
        raise UsageError(f"{given} made {made!r}: expected an autoencoder of images of {shape}")
    return made


def _decoded(model: Autoencoder, z: Any) -> Tensor:
    """The images of codes, in the precision of the model."""
    dtype = next(model.parameters()).dtype
    parts = [m.to(dtype) for m in maps(z)]
    return model.decode(parts[0] if len(parts) == 1 else tuple(parts))
