"""A corruption of your own is one class; it works with every model and every objective."""

from dataclasses import dataclass

import copyfold as cf


@dataclass(frozen=True)
class Stripes(cf.Corruption):
    """Every second row is lost."""

    def __call__(self, x, rng=None):
        lost = x.clone()
        lost[..., ::2, :] = 0
        return lost


if __name__ == "__main__":  # not where it is imported, as by --import
    photos = cf.Photos()
    run = cf.fit(
        cf.MLP(photos.shape), cf.Classical(Stripes()), photos, run="runs/stripes", epochs=3, overwrite=True
    )
    x = photos.sample("held_out", 8).images
    rows = {"clean": x, "striped": Stripes()(x), "restored": run.model(Stripes()(x)).detach()}
    cf.save_picture(cf.comparison(rows, title="Every second row was lost"), "runs/stripes/findings/stripes.png")
