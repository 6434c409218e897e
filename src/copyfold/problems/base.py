"""The base class of problems: a linear measurement of images, and the exact projection on its solutions."""

from abc import ABC, abstractmethod

from copyfold.catalogue import Recorded
from copyfold.types import Images


class Problem(Recorded, ABC):
    r"""A linear measurement of images, m = A x, from which `cf.solve` restores them.

    A subclass defines A and its pseudo-inverse A^+. With M an orthonormal basis of what is measured, A^+ A = M M^T
    is the orthogonal projection on it, so that the images of a measurement are known exactly:

        A x = m   where   x = A^+ m + (I - M M^T) v,   for any image v

    A is the same for all images of a size, without noise. Measurements are images too: photographs with pixels
    missing, blurred or small ones. `copyfold.testing.check_problem` tests one of your own.
    """

    @abstractmethod
    def measure(self, x: Images) -> Images:
        """m = A x, in the dtype and on the device of x. UsageError for images of a size that it cannot measure."""

    @abstractmethod
    def invert(self, m: Images) -> Images:
        """A^+ m: of the images whose measurement is m, or is nearest to it, the one of least norm."""

    def project(self, f: Images, y: Images, m: Images) -> Images:
        r"""A step f from y, changed so that y + f is measured as m.

            (I - M M^T) f + A^+ (m - A y)

        Algorithm 2 of Kadkhodaie and Simoncelli, "Stochastic solutions for linear inverse problems using the prior
        implicit in a denoiser" (2021, arXiv:2007.13640). What is not measured stays as in f.
        """
        return f + self.invert(m - self.measure(y + f))
