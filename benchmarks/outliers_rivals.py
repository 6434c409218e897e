"""Scores by a detector of PyOD; `outliers.py` starts it with the python that has PyOD.

    python -I outliers_rivals.py IMAGES.npz SCORES.npz kNN|ECOD|IForest SEED COMPONENTS

IMAGES.npz holds uint8 images "train" and "test", N x H x W x C. SCORES.npz gets the scores of the test images by
the detector on pixels and on the first principal components, and "seconds", a line of JSON. Defaults everywhere.
"""

import json
import sys
import time

import numpy as np
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from sklearn.decomposition import PCA


def main() -> None:
    images, (method, seed, components) = np.load(sys.argv[1]), sys.argv[3:]
    train, test = (
        images[name].reshape(len(images[name]), -1).astype(np.float32) / 255 for name in ("train", "test")
    )
    made = {"IForest": lambda: IForest(random_state=int(seed)), "kNN": KNN, "ECOD": ECOD}[method]
    pca = PCA(min(int(components), len(train) - 1, train.shape[1]), random_state=0).fit(train)
    scores, seconds = {}, {}
    for what, seen, asked in (("pixels", train, test), ("PCA codes", pca.transform(train), pca.transform(test))):
        start = time.monotonic()
        scores[f"{method}, {what}"] = made().fit(seen).decision_function(asked)
        seconds[f"{method}, {what}"] = time.monotonic() - start
    np.savez(sys.argv[2], seconds=json.dumps(seconds), **scores)


if __name__ == "__main__":
    main()
