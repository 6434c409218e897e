"""The tests notice a wrong formula: each mutation in this table must make its test fail.

The changes are those that a careful reader may miss: the variance for the standard deviation, n for n - 1, the
noisy image for the clean one. What none of the tests notices is a missing test. To add a change, give a text that
occurs once in its file, what takes its place, and the fastest test that says so. A change that nobody could
notice, since it means the same, has no place here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAILED = re.compile(r"^\d+ failed", re.MULTILINE)  # an interpreter that does not start ends with 1 too


class Mutation(NamedTuple):
    """One change of one file of src/copyfold, and the test below tests/unit that must fail with it."""

    name: str
    file: str
    old: str
    new: str
    test: str


MUTATIONS = [
    # ---------------------------------------------------------------- corruptions
    Mutation(
        "gaussian of a variance",
        "corruptions.py",
        "return x + self.std * noise_like",
        "return x + self.std**2 * noise_like",
        "test_corruptions.py::test_noise_has_the_mean_and_the_standard_deviation_asked_for",
    ),
    Mutation(
        "one level for the batch",
        "corruptions.py",
        "(high - low) * uniform_like(x[:, :1, :1, :1], rng)",
        "(high - low) * uniform_like(x[:1, :1, :1, :1], rng)",
        "test_corruptions.py::test_a_pair_of_levels_draws_one_per_image",
    ),
    Mutation(
        "mix that keeps the variance",
        "corruptions.py",
        "keep * x + (1 - keep) * noise_like",
        "keep * x + (1 - keep**2) ** 0.5 * noise_like",
        "test_corruptions.py::test_mix_is_a_convex_mix_and_zero_keeps_nothing",
    ),
    Mutation(
        "masking of whole pixels",
        "corruptions.py",
        "uniform_like(x, rng) < rate",
        "uniform_like(x[:, :1], rng) < rate",
        "test_corruptions.py::test_masking_drops_single_values_at_its_rate",
    ),
    Mutation(
        "blur of a narrower window",
        "corruptions.py",
        "-(u**2) / (2 * self.std**2)",
        "-(u**2) / self.std**2",
        "test_corruptions.py::test_blur_is_scipys_convolution",
    ),
    # ---------------------------------------------------------------- objectives
    Mutation(
        "fidelity to the noisy image",
        "objectives/base.py",
        "self.fidelity(model, z, x)",
        "self.fidelity(model, z, noisy)",
        "test_objectives.py::test_the_target_of_the_loss_is_the_clean_image",
    ),
    Mutation(
        "psnr of the pooled error",
        "objectives/base.py",
        "errors.clamp(min=1e-12).log10().mean()",
        "errors.mean().clamp(min=1e-12).log10()",
        "test_objectives.py::test_diagnostics_are_against_the_clean_image_and_no_part_of_the_loss",
    ),
    Mutation(
        "squared error without its half",
        "objectives/fidelities.py",
        ".sum() / (2 * self.std**2 * len(x))",
        ".sum() / (self.std**2 * len(x))",
        "test_objectives.py::test_the_squared_error_is_a_normal_likelihood_up_to_its_constant",
    ),
    Mutation(
        "logits of probabilities",
        "objectives/fidelities.py",
        'binary_cross_entropy_with_logits(logits, x, reduction="sum")',
        'binary_cross_entropy_with_logits(torch.sigmoid(logits), x, reduction="sum")',
        "test_objectives.py::test_bernoulli_is_the_cross_entropy_and_equals_torch_s_on_binary_images",
    ),
    Mutation(
        "divergence of rates the other way round",
        "objectives/penalties.py",
        "p * torch.log(p / rate)",
        "rate * torch.log(rate / p)",
        "test_objectives.py::test_kl_sparsity_equals_torch_s_divergence_of_the_mean_activation",
    ),
    Mutation(
        "contraction averaged over pixels",
        "objectives/penalties.py",
        "pulled.square().flatten(1).sum(1)",
        "pulled.square().flatten(1).mean(1)",
        "test_objectives.py::test_the_estimate_is_unbiased",
    ),
    Mutation(
        "divergence that rewards a wide posterior",
        "objectives/penalties.py",
        "- 1 - q.variance.log()",
        "- 1 + q.variance.log()",
        "test_objectives.py::test_the_divergence_is_torch_s_and_monte_carlo_s",
    ),
    Mutation(
        "free bits for every image",
        "objectives/penalties.py",
        ".mean(0).clamp(min=self.free_bits)",
        ".clamp(min=self.free_bits).mean(0)",
        "test_objectives.py::test_free_bits_are_per_dimension_of_the_batch_s_mean_and_warm_up_is_a_line",
    ),
    # ---------------------------------------------------------------- samplers
    Mutation(
        "schedule that counts from 0",
        "samplers/renoising.py",
        "c = n / (self.over or steps)",
        "c = (n - 1) / (self.over or steps)",
        "test_samplers.py::test_the_schedules_have_their_weights",
    ),
    Mutation(
        "walk that encodes again only once",
        "samplers/walk.py",
        "if n and self.reencode",
        "if n == 1 and self.reencode",
        "test_samplers.py::test_a_walk_equals_its_explicit_loop",
    ),
    Mutation(
        "directed walk in equal shares of what is left",
        "samplers/walk.py",
        "share=1 / left",
        "share=1 / self.steps",
        "test_samplers.py::test_a_directed_walk_is_a_straight_line_to_the_next_image",
    ),
    Mutation(
        "arc of half the angle",
        "samplers/interpolation.py",
        "angle = 2 * torch.atan2",
        "angle = torch.atan2",
        "test_latent_samplers.py::test_spherical_interpolation_follows_the_arc",
    ),
    Mutation(
        "covariance of divisor n",
        "samplers/fitted.py",
        "return noise_like(centred.new_empty(count, n), rng=rng) / (n - 1) ** 0.5",
        "return noise_like(centred.new_empty(count, n), rng=rng) / n**0.5",
        "test_latent_samplers.py::test_a_fitted_gaussian_has_the_moments_of_the_codes",
    ),
    Mutation(
        "posterior's variance as a std",
        "samplers/fitted.py",
        "variance.sqrt() * noise_like",
        "variance * noise_like",
        "test_latent_samplers.py::test_the_variance_of_a_posterior_is_added",
    ),
    # ---------------------------------------------------------------- probes
    Mutation(
        "gap from the clean image",
        "probes/geometry.py",
        "distance(restored, noisy) / moved",
        "distance(restored, x) / moved",
        "test_geometry.py::test_the_identity_has_no_gap",
    ),
    Mutation(
        "power iteration scaled over the batch",
        "probes/geometry.py",
        "v / v.flatten(1).norm(dim=1).clamp(min=1e-30).view(-1, 1, 1, 1)",
        "v / v.norm().clamp(min=1e-30)",
        "test_geometry.py::test_the_spectral_norm_is_the_largest_singular_value",
    ),
    Mutation(
        "ratio of distances for one of squares",
        "probes/denoising.py",
        "restored / errors)",
        "(restored / errors).sqrt())",
        "test_denoising_probe.py::test_ratios_are_per_image",
    ),
    Mutation(
        "best baseline by the median",
        "probes/denoising.py",
        "rivals[name].mean()",
        "rivals[name].median()",
        "test_denoising_probe.py::test_the_best_baseline_has_the_least_mean_and_is_not_the_model",
    ),
    Mutation(
        "whole spacing as the threshold of a walk",
        "probes/stability.py",
        "tau = 0.5 * spacing",
        "tau = spacing",
        "test_stability.py::test_walking_is_going_far_or_to_another_neighbour",
    ),
    Mutation(
        "escapes upwards alone",
        "probes/stability.py",
        "(g.abs().flatten(1) < ESCAPED)",
        "(g.flatten(1) < ESCAPED)",
        "test_stability.py::test_diverging_images_are_clamped_and_walk",
    ),
    Mutation(
        "evidence of a sum of draws",
        "probes/evidence.py",
        "weights.logsumexp(0) - math.log(len(z))",
        "weights.logsumexp(0)",
        "test_variational.py::test_with_the_true_posterior_the_bound_is_the_evidence",
    ),
    Mutation(
        "units that are on above 0 alone",
        "probes/latent.py",
        "(units.abs() > ON * units.abs().max())",
        "(units > ON * units.abs().max())",
        "test_latent.py::test_dead_and_active_units_are_counted",
    ),
    Mutation(
        "kernel distance with each vector to itself",
        "probes/quality.py",
        "(_kernel_sum(v, v) - own) / (len(v) * (len(v) - 1))",
        "_kernel_sum(v, v) / len(v) ** 2",
        "test_quality.py::test_the_kernel_distance_is_scikit_learn_s_kernel",
    ),
    # ---------------------------------------------------------------- measures
    Mutation(
        "decibels of an amplitude",
        "measures.py",
        "-10 * torch.log10(mse(a, b))",
        "-20 * torch.log10(mse(a, b))",
        "test_measures.py::test_mse_and_psnr_equal_skimage_s",
    ),
    Mutation(
        "mean of |N(0, 1)| for its median",
        "measures.py",
        "(6 * 0.6744897501960817)",
        "(6 * 0.7978845608028654)",
        "test_measures.py::test_noise_level_finds_known_noise_on_a_smooth_image",
    ),
    Mutation(
        "mean of distances for the root of squares",
        "measures.py",
        "(a @ t, b @ t).mean().sqrt()",
        "(a @ t, b @ t).sqrt().mean()",
        "test_measures.py::test_sliced_wasserstein_of_a_shifted_set_is_known",
    ),
    # ---------------------------------------------------------------- models
    Mutation(
        "skip without a gradient",
        "models/unet.py",
        "torch.cat((skip, x), dim=1)",
        "torch.cat((skip.detach(), x), dim=1)",
        "test_models.py::test_concat_concatenates_the_encoder_map_with_the_up_sampled_one",
    ),
    Mutation(
        "log variance as a log std",
        "models/variational.py",
        "_LOG_VARIANCE) / 2).exp()",
        "_LOG_VARIANCE)).exp()",
        "test_variational.py::test_the_posterior_is_that_of_its_layers",
    ),
    Mutation(
        "statistics chosen by train and eval",
        "models/blocks.py",
        'if self.statistics == "running":',
        "if not self.training:",
        "test_models.py::test_batch_norm_equals_torch_s",
    ),
    Mutation(
        "statistics recorded in eval mode",
        "models/blocks.py",
        "(means, variances) if self.training else (None, None)",
        "(means, variances)",
        "test_models.py::test_batch_norm_equals_torch_s",
    ),
    # ---------------------------------------------------------------- training
    Mutation(
        "average of the newest weights",
        "training/ema.py",
        "get_ema_multi_avg_fn(decay)",
        "get_ema_multi_avg_fn(1 - decay)",
        "test_training.py::test_the_average_of_the_weights_follows_its_formula",
    ),
    Mutation(
        "warm-up that wastes a step",
        "training/plan.py",
        "rise = (step + 1) / max(",
        "rise = step / max(",
        "test_training.py::test_a_schedule_rises_and_ends_at_zero_unless_it_is_constant",
    ),
    Mutation(
        "cosine of half a wave",
        "training/plan.py",
        "(1 - math.cos(math.pi * left))",
        "(1 - math.cos(math.pi / 2 * left))",
        "test_training.py::test_a_schedule_rises_and_ends_at_zero_unless_it_is_constant",
    ),
    Mutation(
        "cosine that waits for the clock",
        "training/stopping.py",
        "return max(steps, spent",
        "return min(steps, spent",
        "test_training.py::test_progress_is_counted_in_epochs_or_minutes_whichever_ends_first",
    ),
    Mutation(
        "Muon without Nesterov's momentum",
        "training/optimizers.py",
        'update = weight.grad.add(momentum, alpha=group["momentum"]).flatten(1)',
        "update = momentum.flatten(1)",
        "test_optimizers.py::test_muon_takes_the_steps_of_torch_muon_on_matrices",
    ),
    Mutation(
        "Muon whose tall matrices step like wide ones",
        "training/optimizers.py",
        "max(1.0, update.shape[0] / update.shape[1]) ** 0.5",
        "1.0",
        "test_optimizers.py::test_muon_takes_the_steps_of_torch_muon_on_matrices",
    ),
    Mutation(
        "a running average that is the last batch's",
        "training/running_averages.py",
        "norm.momentum = 1 / seen",
        "norm.momentum = 1.0",
        "test_running_averages.py::test_they_are_what_torch_update_bn_makes_of_the_same_images",
    ),
    Mutation(
        "the same noise in every step",
        "training/loop.py",
        "hashed(plan.seed, state.step * plan.accumulate + part,",
        "hashed(plan.seed, part,",
        "test_training.py::test_every_part_of_a_batch_has_its_own_corruption",
    ),
    Mutation(
        "the same noise in every part of a batch",
        "training/loop.py",
        "hashed(plan.seed, state.step * plan.accumulate + part,",
        "hashed(plan.seed, state.step,",
        "test_training.py::test_every_part_of_a_batch_has_its_own_corruption",
    ),
    Mutation(
        "seeds that differ by one share their noise",
        "training/randomness.py",
        'f"{seed}/{step}"',
        'f"{seed + step}"',
        "test_training.py::test_every_seed_step_and_process_has_its_own_random_numbers",
    ),
    Mutation(
        "means of numbers that were not always there",
        "training/loss.py",
        "total / count for",
        "total / max(counts) for",
        "test_training.py::test_a_tally_is_a_mean_by_name",
    ),
    Mutation(
        "parts of a batch as batches",
        "training/loop.py",
        "total if plan.accumulate == 1 else total / plan.accumulate",
        "total",
        "test_training.py::test_a_batch_in_parts_gives_the_gradient_of_the_whole",
    ),
    Mutation(
        "held-out images with any noise",
        "training/metrics_log.py",
        "        seeded(hashed(self.plan.seed, -1), device)",
        "        pass",
        "test_training.py::test_the_held_out_loss_of_an_unchanging_model_is_constant",
    ),
    Mutation(
        "held-out images that norms record",
        "training/metrics_log.py",
        "        model.eval()\n        for pixels",
        "        for pixels",
        "test_running_averages.py::test_the_log_has_the_error_of_each_held_out_image_by_itself",
    ),
    Mutation(
        "held-out loss before the warm-up",
        "training/metrics_log.py",
        "terms = self.loss.objective(model, x, watch)",
        "terms = self.loss.objective(model, x, watch, 0)",
        "test_training.py::test_held_out_losses_use_the_full_weight_during_warm_up",
    ),
    # ---------------------------------------------------------------- data
    Mutation(
        "one order for all epochs",
        "data/batches.py",
        'f"{self.seed}/{epoch}"',
        'f"{self.seed}"',
        "data/test_batches.py::test_epochs_differ_and_seeds_differ",
    ),
    Mutation(
        "images upside down",
        "data/batches.py",
        "x[which].flip(2)",
        "x[which].flip(1)",
        "data/test_batches.py::test_flips_mirror_about_half_of_the_images_and_others_each_epoch",
    ),
    Mutation(
        "no crop at the last place",
        "data/crops.py",
        "(sizes - np.array(crop) + 1)",
        "(sizes - np.array(crop))",
        "data/test_crops.py::test_every_place_in_a_photograph_is_equally_likely",
    ),
    Mutation(
        "a grid of crops counted by its columns",
        "data/crops.py",
        "across[:, 1]), 1)",
        "across[:, 0]), 1)",
        "data/test_crops.py::test_the_grid_is_evenly_placed_without_overlap",
    ),
    Mutation(
        "one place for all crops of an epoch of a stream",
        "data/streaming.py",
        'self.rank, self.world, "crop", k)',
        'self.rank, self.world, "crop")',
        "data/test_stream_crops.py::test_all_of_an_image_is_used",
    ),
    # ---------------------------------------------------------------- studies
    Mutation(
        "bootstrap over images alone",
        "studies/statistics.py",
        "(forward(drawn) * by_seed.T).sum(-2)",
        "forward(drawn).mean(-2)",
        "studies/test_coverage_of_intervals.py::test_intervals_cover_the_truth",
    ),
    Mutation(
        "no interval over seeds",
        "studies/statistics.py",
        "low, high = torch.minimum(low, centre - half), torch.maximum(high, centre + half)",
        "low, high = low, high",
        "studies/test_coverage_of_intervals.py::test_intervals_cover_the_truth",
    ),
    Mutation(
        "a control that does not count",
        "studies/base.py",
        "if fair and outcomes",
        "if outcomes",
        "studies/test_verdicts.py::test_a_control_vetoes_that_a_claim_holds_and_no_more",
    ),
    Mutation(
        "a regime that does not count",
        "studies/base.py",
        "if self.outside(copying or {}):",
        "if False:",
        "studies/test_verdicts.py::test_a_network_that_does_not_copy_says_nothing",
    ),
    Mutation(
        "verdict by the value and not its interval",
        "studies/base.py",
        "found.high < self.most",
        "found.value < self.most",
        "studies/test_verdicts.py::test_the_verdict_follows_from_the_thresholds_alone",
    ),
    *(
        Mutation(f"studies' cache without the {name}", "studies/lab.py", old, "", f"studies/test_lab.py::{test}")
        for name, old, test in (
            (
                "objective",
                '        "objective": catalogue.describe(objective),\n',
                "test_another_objective_trains_another_model",
            ),
            ("architecture", '        "config": model.config,\n', "test_another_size_trains_another_model"),
            (
                "precision",
                '        plan["precision"] = precision\n',
                "test_another_precision_trains_another_model",
            ),
            (
                "code",
                '        "code": code_digest(model, objective),\n',
                "test_models_of_changed_code_are_trained_again",
            ),
        )
    ),
]


def copied(folder: Path) -> Path:
    """The source as it stands, in a folder to put first on Python's path."""
    return shutil.copytree(ROOT / "src", folder / "src")


def outcome(source: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run these tests on a copy of the source, up to the first that fails."""
    chosen = [f"tests/unit/{test}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_tests_pass_without_a_mutation(tmp_path: Path) -> None:
    """Without which it would mean nothing that they fail."""
    done = outcome(copied(tmp_path), *dict.fromkeys(mutation.test for mutation in MUTATIONS))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fails_its_test(mutation: Mutation, tmp_path: Path) -> None:
    path = copied(tmp_path) / "copyfold" / mutation.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.old!r} is not once in {mutation.file}: mend the table"
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    done = outcome(path.parents[len(Path(mutation.file).parts)], mutation.test)
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr[-4000:]
    assert FAILED.search(done.stdout), done.stdout[-4000:] + done.stderr[-4000:]
