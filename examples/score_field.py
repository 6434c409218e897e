"""A denoising autoencoder learns the score: r(x) - x as a vector field, on a known density.

Tweedie's formula: the best denoiser is r(x) = x + STD^2 grad log p(x), p the density of the *noisy* points.
With a smaller STD the arrows are shorter but the network's error is not: to resolve them, train longer.
"""

import torch

import copyfold as cf

STD, STEPS = 0.2, 1500
torch.manual_seed(0)
density = cf.ring(count=8, radius=1.0, std=0.15)
model = cf.MLP((1, 1, 2), hidden=[64], latent_dim=64, activation="tanh", code_activation="tanh")
objective = cf.Classical(corruption=cf.Gaussian(STD))
optimizer = torch.optim.Adam(model.parameters())
for step in range(STEPS):
    optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / STEPS)
    x = density.sample(512).float().view(-1, 1, 1, 2)
    optimizer.zero_grad()
    sum(objective(model, x).values(), torch.tensor(0.0)).backward()
    optimizer.step()

axis = torch.linspace(-1.6, 1.6, 21)
points = torch.cartesian_prod(axis, axis)
log_density = density.log_prob(points.double(), noise=STD)
points = points[log_density > log_density.max() - 3]  # where it is at least a twentieth of the largest
score = STD**2 * density.score(points.double(), noise=STD).float()
with torch.no_grad():
    field = model(points.view(-1, 1, 1, 2)).view(-1, 2) - points
cosine = torch.nn.functional.cosine_similarity(field.flatten(), score.flatten(), dim=0).item()
slope = ((field * score).sum() / score.square().sum()).item()
print(f"cosine {cosine:.4f}, slope {slope:.4f} over {len(points)} points where the density is not negligible")
fields = {"what it learned: r(x) - x": field, "the score of the noisy density times σ²": score}
title = f"A denoising autoencoder on eight Gaussians, noise of std {STD}: cosine {cosine:.3f}, slope {slope:.3f}"
cf.save_picture(cf.arrows(points, fields, density.sample(1500), title), "score-field.png")
