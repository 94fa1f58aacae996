"""What notebook 08 finds, in sentences with its numbers: what was missed, and what can be claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from microprint.analysis.judging import Judgement
from microprint.analysis.texture_probes import SURE, Walks, taken_along
from microprint.analysis.texture_properties import BESIDE_FULL, BESIDE_ROUGH, FULL, ROUGH, Scores, spread

LEAK = 0.2  # of a descriptor's range over the castings
FAR = 0.8  # of how far castings go, that drawings should go
SHORT = 0.05  # of R2, behind the ideal reader or another code
READABLE = 0.3  # of R2 that the ideal reader has of a cause that can be read at all
CLEAR = 0.5  # correlation that is worth a sentence
SOLVER_PCT = 0.1  # error of a simulated modulus: what is nearer to its target than this is not told apart


@dataclass
class Told:
    """Sentences of a page, defeats apart, and those of their numbers that no table has."""

    missed: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)

    def say(self, sentence: str, defeat: bool) -> None:
        (self.missed if defeat else self.claims).append(sentence)

    def property(
        self,
        title: str,
        compared: Mapping[str, Scores],
        index: int,
        ours: str,
        rival: str,
        trained: str,
        pixels: tuple[int, int],
    ) -> None:
        """A property by the latent vector alone against the strongest `rival` without physics, and whose doing it is.

        `trained` begins the names of predictors from S3's code. `pixels` are the edges of a patch as S3's network sees it, and
        in full.
        """
        mean = {name: float(scores.mape_pct[:, index].mean()) for name, scores in compared.items()}
        scatter, lead = spread(compared[ours], compared[rival], index), mean[rival] - mean[ours]
        word = "better than" if lead > 2 * scatter else "no better than" if lead > -2 * scatter else "worse than"
        self.say(
            f"The latent vector alone ({ours}) is {word} {rival} for the **{title}** of an unseen image: "
            f"{mean[ours]:.2f} % against {mean[rival]:.2f} %, where the difference scatters by "
            f"{scatter:.2f} from split to split.",
            lead <= 2 * scatter,
        )
        s3, vgg = (min(error for name, error in mean.items() if name.startswith(start)) for start in (trained, "VGG19"))
        self.say(
            f"The {title} by the mean of the others errs by {mean['mean of the others']:.2f} %, by S3's trained code by "
            f"{s3:.2f} %, by VGG19 as it comes by {vgg:.2f} % (at full resolution; S3 at {pixels[0]} of {pixels[1]} pixels)"
            + (": no gain by S3's training on micrographs is seen, but part of the lead is resolution." if vgg < s3 else "."),
            False,
        )

    def equilibrium(self, title: str, compared: Mapping[str, Scores], index: int, ours: str, bounded: float) -> None:
        """What an equilibrium adds to the latent vector; `bounded` correlates its error with the boundaries' length."""
        mean = {name: float(scores.mape_pct[:, index].mean()) for name, scores in compared.items()}
        helps = mean[BESIDE_ROUGH] < mean[ours]
        text = (
            f"A rough equilibrium {'helps' if helps else 'does not help'} the **{title}**: {mean[BESIDE_ROUGH]:.2f} % with it, "
            f"{mean[ours]:.2f} % by the latent vector alone, {mean[ROUGH]:.2f} % by the rough equilibrium alone. The "
            f"full simulation of the same patches has {mean[FULL]:.2f} % alone and {mean[BESIDE_FULL]:.2f} % beside the code."
        )
        if abs(bounded) > CLEAR:
            text += f" Segmentation takes boundaries for ferrite: its error goes with their length (correlation {bounded:.2f})."
        self.say(text, not helps)
        if min(mean[FULL], mean[ROUGH]) < mean[ours]:
            self.say(
                f"For the **{title}** the latent vector alone, {mean[ours]:.2f} %, is behind an equilibrium without any code: "
                f"{mean[FULL]:.2f} % solved in full, {mean[ROUGH]:.2f} % roughly.",
                True,
            )

    def cost(self, seconds: Mapping[str, float]) -> None:
        """Seconds an image of the ``code``, a ``rough`` and the ``full`` equilibrium."""
        code, rough, full = (seconds[name] for name in ("code", "rough", "full"))
        text = (
            f"For one image the code takes {code:.2g} s, a rough equilibrium {rough:.2g} s and the full simulation {full:.2g} s"
        )
        more = full - rough < code
        self.say(text + (": to solve roughly saves less than the code costs." if more else "."), more)

    def walks(self, walks: Walks, causes: Sequence[str], descriptors: Sequence[str]) -> None:
        """How surely and how far drawings follow a cause, and what else they take along; names for a reader."""
        own = [(name, *(float(m[i, i]) for m in (walks.sure, walks.far, walks.castings))) for i, name in enumerate(causes)]
        surely = [f"{name} {far:.2f} of {castings:.2f}" for name, r2, far, castings in own if r2 >= SURE]
        short = [name for name, _, far, castings in own if far < FAR * castings]
        over = [name for name, _, far, castings in own if far > castings / FAR]
        self.say(
            f"Drawings respond surely (R² of {SURE} or more) to {len(surely)} of the {len(own)} causes that can be measured on "
            f"a drawing (grain size cannot). Less than {FAR:g} times as far as in castings: {', '.join(short) or 'none'}; "
            f"more than {1 / FAR:g} times: {', '.join(over) or 'none'}. "
            f"Change in ranges of the castings: {', '.join(surely) or 'none'}.",
            bool(short or over) or not surely,
        )
        unsure = [f"{name} {r2:.2f}" for name, r2, _, _ in own if r2 < SURE]
        if unsure:
            self.say(f"Drawings do not respond surely to all, R²: {', '.join(unsure)}.", True)
        along = taken_along(walks.far - walks.castings, causes, descriptors)
        leaks = [(cause, what) for cause, what, away in along if abs(away) >= LEAK]
        self.numbers |= {"walk.leaks": len(leaks), "walk.entries": len(along)}
        at = [(cause, what, causes.index(cause), descriptors.index(what)) for cause, what in leaks[:3]]
        worst = [
            f"{cause} moves {what} by {walks.far[i, j]:+.2f} (castings {walks.castings[i, j]:+.2f})" for cause, what, i, j in at
        ]
        if leaks:
            self.say(
                f"Walks along one cause move other descriptors otherwise than castings do: {len(leaks)} of {len(along)} "
                f"entries off the diagonal are {LEAK:g} of the castings' range or more away. The largest: {'; '.join(worst)}.",
                True,
            )

    def probes(self, causes: Sequence[str], codes: Mapping[str, ArrayLike], ideal: ArrayLike) -> None:
        """R2 of each cause, read from the codes of ``ours`` and of rivals, and by the ideal reader."""
        own = list(zip(causes, codes["ours"], ideal))
        short = [f"{cause} {ours:.2f} ({best:.2f})" for cause, ours, best in own if ours < best - SHORT]
        near = [f"{cause} {ours:.2f} ({best:.2f})" for cause, ours, best in own if ours >= best - SHORT and best >= READABLE]
        for some, words in ((short, "fall short of"), (near, "come near")):
            if some:
                self.say(
                    f"Probes of the latent vector {words} the ideal reader (in brackets), R² of unseen castings: "
                    f"{', '.join(some)}.",
                    some is short,
                )
        for rival in (name for name in codes if name != "ours"):
            more = [f"{c} {x:.2f} (ours {o:.2f})" for (c, o, _), x in zip(own, codes[rival]) if x > max(o, 0.0) + SHORT]
            if more:
                self.say(f"The code of {rival} tells more of some causes, R² of unseen castings: {', '.join(more)}.", True)

    def designs(
        self, designed: Mapping[tuple[str, str], Sequence[float]], kind: str, targets: int, cost: int, free: Sequence[str]
    ) -> None:
        """Errors in % of designs by name, as proposed and after `cost` simulations a target, for one `kind` of targets.

        Those that are `free` take no simulation.
        """
        errors = [{who: e[last] for (who, of), e in designed.items() if of == kind and np.isfinite(e[last])} for last in (0, 1)]
        what = f"Micrographs for a modulus {kind} what training castings have, {targets} targets, error"
        for when, row in zip(("as proposed", f"after {cost} simulations a target (none for: {'; '.join(free)})"), errors):
            each = "; ".join(
                f"{who} {f'{error:.2g}' if error >= SOLVER_PCT else f'< {SOLVER_PCT:g}'} %" for who, error in row.items()
            )
            self.say(f"{what} {when}: {each} (best: {min(row, key=row.get)}).", False)
        first, best = errors[0], min(free, key=errors[0].get)
        if first.get("ours", 0) > first[best]:
            others = ", ".join(
                f"the {name} by {first[name]:.2g} %"
                for name in sorted(free, key=first.get)
                if first[name] < 1.1 * first["ours"]
            )
            self.say(
                f"What our prior proposes for a modulus {kind} the data is off by {first['ours']:.2g} %, {others}: "
                "what brings drawings near is the simulated corrections, not the prior.",
                True,
            )

    def likeness(self, kept: Sequence[Judgement], left_out: Sequence[str], trained: str, history, patches: int) -> None:
        """By how many measures our drawings are nearer than those of `trained`, S3's, whose training has a history."""
        half, last = history[len(history) // 2], history[-1]
        fell = {p: 100 * (1 - last[f"{p}_reconstruction"] / half[f"{p}_reconstruction"]) for p in ("train", "validation")}
        self.numbers |= {f"s3.{part}_loss_fell_pct": share for part, share in fell.items()}
        ways = {name: [100 * j.reached(name) for j in kept] for name in ("ours", trained)}
        size = f" ({trained.partition(', ')[2]})" * (", " in trained)
        behind = [
            f"{j.measure.name} {way:.0f} %" for j, way in zip(kept, ways[trained]) if way < min(100, 100 * j.reached("ours"))
        ]
        if behind:
            fit = (
                f"S3's network{size}, trained on {patches} patches, gains little more on unseen ones: "
                f"from epoch {half['epoch']:.0f} to {last['epoch']:.0f} "
                "its reconstruction loss in training falls "
                f"by {fell['train']:.0f} %, in validation by {fell['validation']:.0f} %. "
            )
            self.say(
                fit
                * (fell["train"] > 2 * max(fell["validation"], 0))
                + "Of the way from another casting to another piece of the same image "
                f"S3's drawings{size} come, for one seed, by "
                f"{', '.join(behind)}; below 0 is farther than another casting.",
                True,
            )
        if kept:
            ahead = sum(a > b for a, b in zip(*ways.values()))
            spans = [f"{min(way):.0f} to {max(way):.0f} %" for way in ways.values()]
            self.say(
                f"By {ahead} of the {len(kept)} measures that can judge, our drawings are more like the patch that they were "
                f"drawn for than S3's: on the way from another casting to another piece of its image they come {spans[0]}, "
                f"S3's{size} {spans[1]}. "
                "One of these, the style loss, is what ours were trained by.",
                not ahead,
            )
        if left_out:
            self.say(f"Left out, as floor and ceiling are less than a deviation of pairs apart: {', '.join(left_out)}.", False)
