"""An example for each public name, shown on its page of the reference and run by tests/unit/test_snippets.py.

Every example is a cell, and starts from what the first cell makes.
"""

# %%
import torch

import copyfold as cf

photos = cf.Photos(size=16, limit=64)  # digits
x = photos.images("held_out", 8)
rng = torch.Generator().manual_seed(0)
model = cf.MLP(photos.shape, hidden=[32], latent_dim=8).eval()  # untrained

# %% Autoencoder
z = model.encode(x)
same = torch.equal(model(x), model.decode(z))
print(tuple(z.shape), same, model.shape, model.code_shapes())

# %% Linear
pca = cf.Linear(photos.shape, latent_dim=4)
run = cf.fit(pca, photos=photos, run="runs/pca", solve=True)

# %% MLP
murphy = cf.MLP((1, 28, 28), hidden=[100], latent_dim=30, activation="selu")
overcomplete = cf.MLP((1, 8, 8), hidden=[200, 200], latent_dim=200)

# %% Conv
net = cf.Conv((1, 28, 28), channels=(16, 32, 64))
print(net.code_shapes())

# %% UNet
net = cf.UNet((3, 64, 64), width=8, depth=3, skips="concat", norm="none")
print(net.summary())

# %% AttentionUNet
net = cf.AttentionUNet(photos.shape, width=4, depth=2)
copy = net(x)

# %% DiffusionUNet
net = cf.DiffusionUNet(photos.shape, width=12, multiples=(1, 2))
copy = net(x)

# %% SingleAttention
net = cf.SingleAttention((1, 8, 8), kind="dot", channels=None)

# %% Variational
vae = cf.Variational(cf.MLP(photos.shape, hidden=[32], latent_dim=16), latent_dim=2)
q = vae.posterior(x)
print(q.mean.shape, q.stddev.shape)

# %% Middle
net = cf.UNet(photos.shape, width=4, depth=2, middle=cf.Affine(hidden=32, latent_dim=8))
assert isinstance(net.middle, cf.Middle)

# %% Affine
net = cf.UNet(photos.shape, width=4, depth=2, middle=cf.Affine(hidden=32, latent_dim=8))
print(net.code_shapes())

# %% Wide
net = cf.UNet(photos.shape, width=4, depth=2, middle=cf.Wide())
print(net.code_shapes())

# %% CNN
classifier = cf.CNN(photos.shape, classes=10)
scores = classifier(x)

# %% ViT
classifier = cf.ViT(photos.shape, classes=10)
scores = classifier(x)

# %% adopt
net = torch.nn.ModuleDict({"down": torch.nn.Conv2d(1, 4, 2, 2), "up": torch.nn.ConvTranspose2d(4, 1, 2, 2)})
adopted = cf.adopt(net, (1, 16, 16), encode=net["down"].forward, decode=net["up"].forward)
film = list(cf.Walk(steps=3)(adopted, x, rng))

# %% load
run = cf.fit(model, photos=photos, run="runs/first", steps=2)
again = cf.load("runs/first")

# %% pretrained
try:
    denoiser = cf.pretrained("denoiser")
except cf.UsageError as error:  # the package copyfold-weights is not installed
    print(error)

# %% Objective
terms = cf.Classical()(model, x)
loss = sum(terms.values())

# %% Classical
denoising = cf.Classical(cf.Gaussian(0.2))
sparse = cf.Classical(penalties=(cf.L1(0.1),))
print({name: float(term.detach()) for name, term in sparse(model, x).items()})

# %% BlindSpot
noisy = cf.Gaussian(0.1)(x, rng)
terms = cf.BlindSpot()(model, noisy)

# %% NoisePrediction
terms = cf.NoisePrediction()(model, x)

# %% Fidelity
nats = cf.SquaredError(std=0.1)(model, model.encode(x), x)

# %% SquaredError
nats = cf.SquaredError(std=0.1)(model, model.encode(x), x)

# %% Bernoulli
bounded = cf.MLP(photos.shape, hidden=[32], output="sigmoid")
nats = cf.Bernoulli()(bounded, bounded.encode(x), x)

# %% AbsoluteError
nats = cf.AbsoluteError(scale=0.1)(model, model.encode(x), x)

# %% HardPixels
loss = cf.HardPixels(least=0.01)(model, model.encode(x), x)

# %% ErrorAndAngle
loss = cf.ErrorAndAngle()(model, model.encode(x), x)

# %% Observed
holes = x.clone()
holes[:, :, 4:8] = float("nan")  # missing
nats = cf.Observed(cf.SquaredError())(model, model.encode(x), holes)

# %% Penalty
cost = cf.L1(weight=0.1)(model, x, model.encode(x))

# %% L1
cost = cf.L1(weight=0.1)(model, x, model.encode(x))

# %% KLSparsity
logistic = cf.MLP(photos.shape, hidden=[], latent_dim=50, code_activation="sigmoid")
cost = cf.KLSparsity(weight=1.0, target=0.1)(logistic, x, logistic.encode(x))

# %% Contraction
seen = x.clone().requires_grad_()
cost = cf.Contraction(weight=0.1)(model, seen, model.encode(seen))

# %% Divergence
vae = cf.Variational(model, latent_dim=2)
q = vae.posterior(x)
cost = cf.Divergence(beta=1.0)(vae, x, q.mean, q)

# %% Corruption
corrupted = cf.Gaussian(0.2)(x, rng)

# %% Clean
assert cf.Clean()(x) is x

# %% Gaussian
noisy = cf.Gaussian(0.2)(x, rng)
noisy_by_different_amounts = cf.Gaussian((0.02, 0.5))(x, rng)

# %% Masking
masked = cf.Masking(rate=0.5)(x, rng)

# %% Mix
mixed = cf.Mix(keep=0.5, mean=0.7, std=0.2)(x, rng)

# %% Blur
blurred = cf.Blur(kernel=5, std=1.0)(x)

# %% Patches
painted = cf.Patches(count=2)(x, rng)

# %% Sampler
sampler = cf.Renoising(steps=4)
for frame in sampler(model, sampler.noise(6, photos.shape, rng), rng):
    print(tuple(frame.shape))

# %% Renoising
sampler = cf.Renoising(steps=30)
frames = sampler(model, sampler.noise(6, photos.shape, rng), rng)
cf.film(frames, "from-noise.gif")

# %% Schedule
weights = [cf.Ramp()(n, 5) for n in range(1, 6)]

# %% Ramp
weights = [cf.Ramp()(n, 5) for n in range(1, 6)]

# %% Additive
sampler = cf.Renoising(steps=5, schedule=cf.Additive())

# %% Ascent
sampler = cf.Ascent(to_std=0.1, steps=5)
*_, images = sampler(model, sampler.noise(4, photos.shape, rng), rng)

# %% Walk
frames = cf.Walk(steps=5, std=0.1, relative=True)(model, x, rng)
print(len(list(frames)))

# %% DirectedWalk
frames = list(cf.DirectedWalk(steps=5)(model, x, rng))

# %% Interpolation
frames = list(cf.Interpolation(steps=5, kind="spherical")(model, x, rng))

# %% PixelInterpolation
frames = list(cf.PixelInterpolation(steps=5)(model, x, rng))

# %% Prior
vae = cf.Variational(model, latent_dim=2).eval()
(images,) = cf.Prior()(vae, torch.zeros(4, *photos.shape), rng)

# %% FittedGaussian
(images,) = cf.FittedGaussian(reference=photos.images())(model, torch.zeros(4, *photos.shape), rng)

# %% FittedMixture
(images,) = cf.FittedMixture(reference=photos.images(), components=3)(model, torch.zeros(4, *photos.shape), rng)

# %% Traversal
frames = list(cf.Traversal(dim=2, steps=5)(model, x, rng))

# %% Probe
reading = cf.IdentityGap(cf.Gaussian(0.1), draws=0)(model, x, rng)
print({name: float(values.mean()) for name, values in reading.numbers.items()})

# %% Reading
reading = cf.Denoising(cf.Gaussian(0.1))(model, x, rng)
print(sorted(reading.numbers), sorted(reading.images))

# %% Denoising
reading = cf.Denoising(cf.Gaussian(0.1), reference=photos.images("train", 32))(model, x, rng)
print({name: float(errors.mean()) for name, errors in reading.numbers.items()})

# %% Inversion
reading = cf.Inversion(layer="encoder", steps=5)(model, x, rng)
print(float(reading.numbers["psnr"].mean()))

# %% layers
print(cf.layers(model, x, count=4))

# %% IdentityGap
reading = cf.IdentityGap(cf.Gaussian(0.1))(model, x, rng)
print(float(reading.numbers["passed"].mean()))

# %% SpectralNorm
reading = cf.SpectralNorm(iterations=10)(model, x, rng)
print(float(reading.numbers["autoencoder"].max()))

# %% Stability
reading = cf.Stability(steps=5)(model, x, rng)
print(float(reading.numbers["fraction"]))

# %% Nearest
reading = cf.Nearest(reference=photos.images())(model, x, rng)
print(reading.numbers["index"])

# %% Latent
sample = photos.sample("held_out", 32)
reading = cf.Latent(labels=sample.labels)(model, sample.images, rng)
print(float(reading.numbers["effective dimension"]), float(reading.numbers["purity"]))

# %% CodeStatistics
reading = cf.CodeStatistics()(model, x, rng)
print(float(reading.numbers["dead_units"]), float(reading.numbers["active_units"]))

# %% Quality
reading = cf.Quality(reference=photos.images())(model, photos.images("held_out"), rng)
print(float(reading.numbers["sliced Wasserstein"]), float(reading.numbers["sliced Wasserstein, real"]))

# %% Evidence
vae = cf.Variational(model, latent_dim=2).eval()
reading = cf.Evidence(std=0.2, draws=4, steps=2)(vae, x, rng)
print(float(reading.numbers["elbo"].mean()))

# %% Eigenbasis
free = cf.UNet(photos.shape, width=4, depth=1, norm="none", bias=False).eval()
reading = cf.Eigenbasis(levels=(0.1,), vectors=2, draws=1, iterations=2)(free, x[:1], rng)

# %% Problem
measured = cf.Enlarge(2).measure(x)
smallest = cf.Enlarge(2).invert(measured)

# %% solve
problem = cf.Missing(rate=0.5)
restored = cf.solve(model, problem, problem.measure(x[:2]), ascent=cf.Ascent(to_std=0.1, steps=3))

# %% Missing
holes = cf.Missing(rate=0.5, seed=0).measure(x)

# %% Inpaint
mask = torch.ones(16, 16)
mask[6:10, 6:10] = 0  # missing
holes = cf.Inpaint(mask).measure(x)

# %% Enlarge
small = cf.Enlarge(factor=2).measure(x)

# %% Deblur
blurred = cf.Deblur(std=1.0).measure(x)

# %% restore
restored = cf.restore(model, x, strength=0.8)

# %% Score
detector = cf.RelativeError()(model, photos.images())
found = detector(x)

# %% RelativeError
detector = cf.RelativeError(window=2.0)(model, photos.images())
found = detector(x)

# %% RestorationError
detector = cf.RestorationError()(model, photos.images())
found = detector(x)

# %% Mahalanobis
detector = cf.Mahalanobis(grid=1)(model, photos.images())
found = detector(x)

# %% NeighbourDistance
detector = cf.NeighbourDistance(count=3)(model, photos.images())
found = detector(x)

# %% Combined
detector = cf.Combined((cf.RelativeError(), cf.NeighbourDistance()))(model, photos.images())
found = detector(x)

# %% outliers
new = cf.Photos(photos.held_out, whole=True)
found = cf.outliers(model, new, photos, rate=0.1)
print(found)
found.save("found.csv")

# %% similar
near = cf.similar(model, photos, count=3)
print(near)

# %% duplicates
twice = cf.duplicates(photos.train[:20])
print(twice)

# %% fit
run = cf.fit(model, cf.Classical(cf.Gaussian(0.2)), photos, run="runs/denoising", epochs=1, batch=32)
print(run.history[-1]["held_out_mse"])

# %% Run
run = cf.fit(model, photos=photos, run="runs/first", steps=2)
again = cf.runs.open("runs/first")
steps, losses = again.series("loss")

# %% Optimizer
run = cf.fit(model, photos=photos, run="runs/adam", steps=2, optimizer=cf.Adam())

# %% Adam
run = cf.fit(model, photos=photos, run="runs/adam", steps=2, optimizer=cf.Adam())

# %% Muon
run = cf.fit(model, photos=photos, run="runs/muon", steps=2, optimizer=cf.Muon())

# %% fit_classifier
sample = photos.sample("train")
losses = cf.fit_classifier(cf.CNN(photos.shape, classes=10), sample.images, sample.labels, epochs=1, batch=32)

# %% suggest
suggested = cf.suggest(photos, minutes=0.01)
print(suggested)

# %% diagnose
report = cf.diagnose(model, photos)
print(report.sentences)
report.save("report.html")

# %% Report
report = cf.diagnose(model, photos)
print(report.numbers)

# %% compare
for latent_dim in (2, 8):
    cf.fit(cf.MLP(photos.shape, latent_dim=latent_dim), photos=photos, run=f"runs/{latent_dim}", steps=2)
compared = cf.compare(["runs/2", "runs/8"])
compared.save("compared")

# %% Section
from dataclasses import dataclass

from copyfold.report.base import Content, Context


@dataclass(frozen=True)
class Brightness(cf.Section):
    """Does a copy keep the brightness?"""

    title = "Brightness"

    def __call__(self, context: Context) -> Content:
        """Measure, and say what was found."""
        return Content("It says nothing yet.")


# %% Photos
digits = cf.Photos()
array = cf.Photos(torch.rand(40, 3, 20, 30))
print(digits.shape, array.shape, len(array))

# %% Sample
sample = photos.sample("held_out", 10)
print(sample.images.shape, sample.names[:2], sample.labels)

# %% Stream
from pathlib import Path

Path("digits").mkdir()
for k in range(20):
    cf.save_picture(cf.grid(photos.images("train", 1, start=k), scale=1), f"digits/{k}.png")
stream = cf.Stream("digits", size=16)
print(stream.shape)

# %% GaussianMixture
density = cf.GaussianMixture(torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double(), std=0.2)
points = density.sample(100, rng)
arrows = density.score(points, noise=0.1)

# %% ring
density = cf.ring(count=8, radius=1.0, std=0.1)
points = density.sample(100, rng)

# %% scenes
landscapes = cf.Photos(cf.scenes(40, size=32))

# %% grid
picture = cf.grid(x, columns=4)
cf.save_picture(picture, "digits.png")

# %% comparison
figure = cf.comparison({"image": x, "copy": model(x).detach()}, {"copy": "untrained"}, title="Copies")
cf.save_picture(figure, "copies.png")

# %% curves
figure = cf.curves({"loss": ([1, 2, 3], [0.9, 0.5, 0.4])}, "epoch", "nats")

# %% scatter
codes = model.encode(x).detach()[:, :2]
figure = cf.scatter(codes, photos.sample("held_out", 8).labels)

# %% arrows
density = cf.ring()
points = density.sample(50, rng)
figure = cf.arrows(points, {"score": density.score(points)})

# %% film
frames = cf.Walk(steps=5)(model, x, rng)
count = cf.film(frames, "walk.mp4")

# %% strip
picture = cf.strip(cf.Walk(steps=20)(model, x, rng), count=6)

# %% save_picture
cf.save_picture(cf.grid(x), "digits.png")

# %% CopyfoldError
try:
    cf.load("no/such/folder")
except cf.CopyfoldError as error:
    print(error)

# %% UsageError
try:
    cf.MLP(photos.shape, latent_dim=0)
except cf.UsageError as error:
    print(error)

# %% DataError
try:
    cf.Photos("no/such/folder")
except cf.CopyfoldError as error:
    print(error)

# %% Diverged
try:
    cf.fit(model, photos=photos, run="runs/wild", steps=50, lr=1e30, optimizer=cf.Adam())
except cf.Diverged as error:
    print(error)

# %% check_architecture
from copyfold.testing import check_architecture

check_architecture(cf.Linear((1, 8, 8), 3))

# %% check_middle
from copyfold.testing import check_middle

check_middle(cf.Affine(8, 4))

# %% check_objective
from copyfold.testing import check_objective

check_objective(cf.Classical())

# %% check_fidelity
from copyfold.testing import check_fidelity

check_fidelity(cf.SquaredError())

# %% check_penalty
from copyfold.testing import check_penalty

check_penalty(cf.L1(0.1))

# %% check_corruption
from copyfold.testing import check_corruption

check_corruption(cf.Gaussian(0.2))

# %% check_sampler
from copyfold.testing import check_sampler

check_sampler(cf.Walk(steps=3))

# %% check_schedule
from copyfold.testing import check_schedule

check_schedule(cf.Ramp())

# %% check_probe
from copyfold.testing import check_probe

check_probe(cf.CodeStatistics())

# %% check_baseline
from copyfold.probes.baselines import Wavelet
from copyfold.testing import check_baseline

check_baseline(Wavelet())

# %% check_problem
from copyfold.testing import check_problem

check_problem(cf.Enlarge(2))

# %% check_optimizer
from copyfold.testing import check_optimizer

check_optimizer(cf.Adam())

# %% AutoencoderTransformer
from copyfold.estimators import AutoencoderTransformer

rows = photos.images().flatten(1).numpy()
codes = AutoencoderTransformer(latent_dim=4, epochs=2, random_state=0).fit_transform(rows)

# %% DenoisingTransformer
from copyfold.estimators import DenoisingTransformer

rows = photos.images().flatten(1).numpy()
cleaned = DenoisingTransformer(std=0.2, epochs=2, random_state=0).fit_transform(rows)

# %% AutoencoderDetector
from copyfold.estimators import AutoencoderDetector

rows = photos.images().flatten(1).numpy()
odd = AutoencoderDetector(contamination=0.1, epochs=2, random_state=0).fit_predict(rows) == -1
