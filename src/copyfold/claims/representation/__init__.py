"""Claims of the essay's theory: what causes the noise in an input's representation, and what removes it?"""

SECTION = 'essay, "Why Noninvertibility introduces Gaussian Noise in Input Representations"'
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)  # m / n, the numbers of a layer's output over its input's
