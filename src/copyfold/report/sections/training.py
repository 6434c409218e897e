"""How the error fell in training."""

import shlex

from copyfold.report.base import Content, Figure, Section
from copyfold.report.context import Context
from copyfold.report.illustration import loss_curve


class Training(Section):
    """How the error fell in training, where the run is known."""

    title = "Training"
    order = 80

    def __call__(self, context: Context) -> Content:
        """Draw what the log of the run says."""
        run = context.run
        if run is None or not run.history:
            return Content("How this model was trained is not known.")
        caption = (
            "How to read it: the squared error per pixel in training, where images may be corrupted, and on "
            "images held out. A held-out curve that rises while the other falls means overfitting: images are "
            "learned by heart."
        )
        again = shlex.join(["copyfold", "train", "--config", run.where])
        return Content("", (Figure(loss_curve(run, title=""), caption, again),))
