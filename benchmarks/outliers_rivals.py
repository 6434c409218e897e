"""Scores by a detector of PyOD; `outliers.py` starts it with the python that has PyOD.

    python -I outliers_rivals.py IMAGES.npz SCORES.npz kNN|ECOD|IForest SEED COMPONENTS MORE

IMAGES.npz holds uint8 images "train" and "test", N x H x W x C. SCORES.npz gets the scores of the test images by
the detector on pixels, on the first principal components, and on these and on more of them, each in its own
spread; and "seconds", a line of JSON. Defaults everywhere. PyOD's ECOD takes its ranks over training and test
images together: beside it stands the same with ranks among the training images alone.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.stats import skew
from sklearn.decomposition import PCA

Detect = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ranked(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """ECOD's scores by the ranks of test rows among the training rows: Li et al. (2022, arXiv:2201.00382)."""
    scores, signs = np.zeros(len(test)), np.sign(np.nan_to_num(skew(train)))
    for column, asked, sign in zip(np.sort(train, 0).T, test.T, signs, strict=True):
        left = -np.log((1 + np.searchsorted(column, asked, "right")) / (len(column) + 1))
        right = -np.log((1 + len(column) - np.searchsorted(column, asked, "left")) / (len(column) + 1))
        skewed = left * (sign <= 0) + right * (sign >= 0)
        scores += np.maximum(np.maximum(left, right), skewed)
    return scores


def main() -> None:
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN

    images, (method, seed, components, more) = np.load(sys.argv[1]), sys.argv[3:]
    train, test = (
        images[name].reshape(len(images[name]), -1).astype(np.float32) / 255 for name in ("train", "test")
    )
    made = {"IForest": lambda: IForest(random_state=int(seed)), "kNN": KNN, "ECOD": ECOD}[method]
    detectors: dict[str, Detect] = {method: lambda seen, asked: made().fit(seen).decision_function(asked)}
    if method == "ECOD":
        detectors[f"{method}, train only"] = ranked
    given = {"pixels": (train, test)}
    for count, whiten in ((components, False), (components, True), (more, True)):
        pca = PCA(min(int(count), len(train) - 1, train.shape[1]), whiten=whiten, random_state=0).fit(train)
        name = f"{count} PCA codes" + (" in their spread" if whiten else "")
        given[name] = pca.transform(train), pca.transform(test)
    scores, seconds = {}, {}
    for called, detect in detectors.items():
        for what, (seen, asked) in given.items():
            start = time.monotonic()
            scores[f"{called}, {what}"] = detect(seen, asked)
            seconds[f"{called}, {what}"] = time.monotonic() - start
    np.savez(sys.argv[2], seconds=json.dumps(seconds), **scores)


if __name__ == "__main__":
    main()
