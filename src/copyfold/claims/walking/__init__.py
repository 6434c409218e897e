"""Claims of the essay's section on manifold walks: where do walks lead, and why do images walk at all?"""

SECTION = 'essay, "Image Generation with an Autoencoder Manifold Walk"'
