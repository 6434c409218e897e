"""Scores by PyOD's detectors and by PCA; `outliers.py` starts it with the python that has PyOD.

    python -I outliers_rivals.py IMAGES.npz SCORES.npz SEED

IMAGES.npz holds uint8 images "train" and "test", N x H x W x C. SCORES.npz gets the scores of the test images by
every rival, and "seconds", a line of JSON. Defaults everywhere; codes are the first 64 principal components.
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
    images, seed = np.load(sys.argv[1]), int(sys.argv[3])
    train, test = (
        images[name].reshape(len(images[name]), -1).astype(np.float32) / 255 for name in ("train", "test")
    )
    start = time.monotonic()
    pca = PCA(min(64, len(train) - 1, train.shape[1]), random_state=seed).fit(train)
    codes, others = pca.transform(train), pca.transform(test)
    scores = {"PCA error": ((pca.inverse_transform(others) - test) ** 2).mean(1)}
    seconds = {"PCA error": time.monotonic() - start}
    made = {"IForest": lambda: IForest(random_state=seed), "kNN": KNN, "ECOD": ECOD}
    for name, make in made.items():
        for what, seen, asked in (("pixels", train, test), ("PCA codes", codes, others)):
            start = time.monotonic()
            scores[f"{name}, {what}"] = make().fit(seen).decision_function(asked)
            seconds[f"{name}, {what}"] = time.monotonic() - start
    np.savez(sys.argv[2], seconds=json.dumps(seconds), **scores)


if __name__ == "__main__":
    main()
