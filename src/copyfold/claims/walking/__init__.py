"""Of the essay's section on manifold walks: where do they lead, and why do images walk at all?"""

SECTION = 'essay, "Image Generation with an Autoencoder Manifold Walk"'
